#include "ops/pseudorapidity.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "ops/cuda/pseudorapidity_kernel.h"
#include "ops/to_dtype.h"

namespace hitpool {
namespace {

at::Tensor pseudorapidity_cuda(const at::Tensor& theta_in) {
  check_pseudorapidity(theta_in);
  const c10::cuda::CUDAGuard guard(theta_in.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const auto theta = theta_in.contiguous();
  auto eta = at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
  if (theta.numel() == 0) return eta;
  C10_CUDA_CHECK(
      cuda::launch_pseudorapidity(
          to_dtype(theta.scalar_type()), theta.numel(), theta.const_data_ptr(), eta.mutable_data_ptr(), stream));
  return eta;
}

at::Tensor pseudorapidity_backward_cuda(const at::Tensor& grad_in, const at::Tensor& theta_in) {
  check_pseudorapidity_backward(grad_in, theta_in);
  const c10::cuda::CUDAGuard guard(theta_in.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const auto theta = theta_in.contiguous();
  const auto grad = grad_in.to(theta.scalar_type()).contiguous();
  auto result = at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
  if (theta.numel() == 0) return result;
  C10_CUDA_CHECK(
      cuda::launch_pseudorapidity_backward(
          to_dtype(theta.scalar_type()), theta.numel(), grad.const_data_ptr(), theta.const_data_ptr(),
          result.mutable_data_ptr(), stream));
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CUDA, m) {
  m.impl("pseudorapidity", TORCH_FN(pseudorapidity_cuda));
  m.impl("_pseudorapidity_backward", TORCH_FN(pseudorapidity_backward_cuda));
}

}  // namespace hitpool
