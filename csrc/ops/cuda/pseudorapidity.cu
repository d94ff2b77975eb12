#include "ops/pseudorapidity.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "ops/pseudorapidity_formula.h"

namespace hitpool {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 16;

// Arithmetic in T: double for S = double, float for the others.
template <class S, class T>
__global__ void forward_kernel(int64_t count, const S* theta, S* eta, T pi) {
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += int64_t(gridDim.x) * kThreads) {
    eta[i] = static_cast<S>(pseudorapidity_of(static_cast<T>(theta[i]), pi));
  }
}

template <class S, class T>
__global__ void backward_kernel(int64_t count, const S* grad, const S* theta, S* result, T pi) {
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += int64_t(gridDim.x) * kThreads) {
    result[i] = static_cast<S>(pseudorapidity_gradient_of(static_cast<T>(grad[i]), static_cast<T>(theta[i]), pi));
  }
}

unsigned blocks(int64_t count) {
  return static_cast<unsigned>(std::min((count + kThreads - 1) / kThreads, kMaxBlocks));
}

at::Tensor pseudorapidity_cuda(const at::Tensor& theta_in) {
  check_pseudorapidity(theta_in);
  const c10::cuda::CUDAGuard guard(theta_in.device());
  const auto theta = theta_in.contiguous();
  auto eta = at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
  if (theta.numel() == 0) return eta;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, theta.scalar_type(), "pseudorapidity", [&] {
    const auto pi = static_cast<at::opmath_type<scalar_t>>(static_cast<scalar_t>(kPiHigh));
    forward_kernel<<<blocks(theta.numel()), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        theta.numel(), theta.const_data_ptr<scalar_t>(), eta.mutable_data_ptr<scalar_t>(), pi);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return eta;
}

at::Tensor pseudorapidity_backward_cuda(const at::Tensor& grad_in, const at::Tensor& theta_in) {
  check_pseudorapidity_backward(grad_in, theta_in);
  const c10::cuda::CUDAGuard guard(theta_in.device());
  const auto theta = theta_in.contiguous();
  const auto grad = grad_in.to(theta.scalar_type()).contiguous();
  auto result = at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
  if (theta.numel() == 0) return result;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, theta.scalar_type(), "pseudorapidity_backward", [&] {
    const auto pi = static_cast<at::opmath_type<scalar_t>>(static_cast<scalar_t>(kPiHigh));
    backward_kernel<<<blocks(theta.numel()), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        theta.numel(), grad.const_data_ptr<scalar_t>(), theta.const_data_ptr<scalar_t>(),
        result.mutable_data_ptr<scalar_t>(), pi);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CUDA, m) {
  m.impl("pseudorapidity", TORCH_FN(pseudorapidity_cuda));
  m.impl("_pseudorapidity_backward", TORCH_FN(pseudorapidity_backward_cuda));
}

}  // namespace hitpool
