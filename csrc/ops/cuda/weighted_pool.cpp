#include "ops/weighted_pool.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "ops/cuda/weighted_pool_kernel.h"

namespace hitpool {
namespace {

void forward(
    const PoolInputs& inputs, const at::Tensor& pooled, int32_t* index, void* sums,
    const c10::cuda::CUDAStream& stream) {
  if (pooled.numel() == 0) return;
  at::Tensor scratch;
  if (const int64_t bytes = cuda::forward_scratch(inputs); bytes > 0) {
    scratch = at::empty({bytes}, pooled.options().dtype(at::kByte));
  }
  void* const memory = scratch.defined() ? scratch.mutable_data_ptr() : nullptr;
  C10_CUDA_CHECK(cuda::launch_forward(inputs, pooled.mutable_data_ptr(), index, sums, memory, stream));
}

at::Tensor weighted_pool_cuda(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const c10::cuda::CUDAGuard guard(logits.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const PoolCall call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  forward(call.inputs, pooled, nullptr, nullptr, stream);
  return pooled;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> weighted_pool_for_backward_cuda(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const c10::cuda::CUDAGuard guard(logits.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const PoolCall call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  auto index = empty_index(logits, features);
  auto sums = empty_sums(logits, features);
  forward(call.inputs, pooled, index.mutable_data_ptr<int32_t>(), sums.mutable_data_ptr(), stream);
  if (pooled.numel() == 0) sums.zero_();  // nothing to multiply with
  return {std::move(pooled), std::move(index), std::move(sums)};
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward_cuda(
    const at::Tensor& grad_in, const at::Tensor& index_in, const at::Tensor& sums_in, const at::Tensor& logits,
    const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool_backward(grad_in, index_in, sums_in, logits, features, valid, threshold);
  const c10::cuda::CUDAGuard guard(logits.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const PoolCall call(logits, features, valid, threshold);
  const auto grad = grad_in.to(features.scalar_type()).contiguous();
  const auto index = index_in.contiguous(), sums = sums_in.contiguous();
  auto grad_logits = at::empty(logits.sizes(), logits.options());
  auto grad_values = at::empty(features.sizes(), features.options());
  const auto& in = call.inputs;
  if (in.features == 0) {
    grad_logits.zero_();
  } else if (grad_logits.numel() > 0) {
    C10_CUDA_CHECK(
        cuda::launch_backward_logits(
            in, grad.const_data_ptr(), sums.const_data_ptr(), grad_logits.mutable_data_ptr(), stream));
  }
  if (grad_values.numel() > 0) {
    C10_CUDA_CHECK(
        cuda::launch_backward_features(
            in, grad.const_data_ptr(), index.const_data_ptr<int32_t>(), sums.const_data_ptr(),
            grad_values.mutable_data_ptr(), stream));
  }
  return {std::move(grad_logits), std::move(grad_values)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CUDA, m) {
  m.impl("weighted_pool", TORCH_FN(weighted_pool_cuda));
  m.impl("_weighted_pool_for_backward", TORCH_FN(weighted_pool_for_backward_cuda));
  m.impl("_weighted_pool_backward", TORCH_FN(weighted_pool_backward_cuda));
}

}  // namespace hitpool
