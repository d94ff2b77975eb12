#include "ops/weighted_pool.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>

#include "check.h"
#include "ops/cuda/weighted_pool_kernel.h"

namespace hitpool {
namespace {

cuda::Dtype to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kDouble: return cuda::Dtype::float64;
    case at::kFloat: return cuda::Dtype::float32;
    case at::kBFloat16: return cuda::Dtype::bfloat16;
    default: return cuda::Dtype::float16;
  }
}

// The device and stream of a call, its contiguous inputs and their sizes; keeps the copies alive.
struct Call {
  c10::cuda::CUDAGuard guard;
  c10::cuda::CUDAStream stream;
  at::Tensor logits, values, valid;
  cuda::PoolInputs inputs{};

  Call(
      const at::Tensor& logits_in, const at::Tensor& features, const std::optional<at::Tensor>& valid_in,
      double threshold)
      : guard(logits_in.device()), stream(c10::cuda::getCurrentCUDAStream()) {
    HITPOOL_CHECK_VALUE(
        logits_in.size(-1) <= std::numeric_limits<int32_t>::max(), "weighted_pool", "logits",
        "at most 2^31 - 1 hits per event", logits_in.size(-1));
    logits = logits_in.contiguous();
    values = features.contiguous();
    if (valid_in.has_value()) valid = valid_in->contiguous();
    int64_t events = 1;
    for (int64_t d = 0; d < logits.dim() - 2; ++d) events *= logits.size(d);
    inputs = {
        events,
        logits.size(-2),
        logits.size(-1),
        values.size(-1),
        logits.const_data_ptr(),
        values.const_data_ptr(),
        valid.defined() ? valid.const_data_ptr<bool>() : nullptr,
        to_dtype(logits.scalar_type()),
        to_dtype(values.scalar_type()),
        threshold,
        kMinWeightSum};
  }
};

at::Tensor weighted_pool_cuda(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const Call call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  if (pooled.numel() > 0) {
    C10_CUDA_CHECK(cuda::launch_forward(call.inputs, pooled.mutable_data_ptr(), nullptr, nullptr, call.stream));
  }
  return pooled;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> weighted_pool_for_backward_cuda(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const Call call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  auto index = empty_index(logits, features);
  auto sums = empty_sums(logits, features);
  if (pooled.numel() > 0) {
    C10_CUDA_CHECK(
        cuda::launch_forward(
            call.inputs, pooled.mutable_data_ptr(), index.mutable_data_ptr<int32_t>(), sums.mutable_data_ptr(),
            call.stream));
  } else {
    sums.zero_();  // nothing to multiply with
  }
  return {std::move(pooled), std::move(index), std::move(sums)};
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward_cuda(
    const at::Tensor& grad_in, const at::Tensor& index_in, const at::Tensor& sums_in, const at::Tensor& logits,
    const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool_backward(grad_in, index_in, sums_in, logits, features, valid, threshold);
  const auto check_device = [&](const char* name, const at::Tensor& tensor) {
    HITPOOL_CHECK_VALUE(
        tensor.device() == logits.device(), "_weighted_pool_backward", name,
        c10::str("the device of logits, ", logits.device()), tensor.device());
  };
  check_device("grad", grad_in);
  check_device("index", index_in);
  check_device("sums", sums_in);
  const Call call(logits, features, valid, threshold);
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
            in, grad.const_data_ptr(), sums.const_data_ptr(), grad_logits.mutable_data_ptr(), call.stream));
  }
  if (grad_values.numel() > 0) {
    C10_CUDA_CHECK(
        cuda::launch_backward_features(
            in, grad.const_data_ptr(), index.const_data_ptr<int32_t>(), sums.const_data_ptr(),
            grad_values.mutable_data_ptr(), call.stream));
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
