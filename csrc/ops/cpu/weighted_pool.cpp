#include "ops/weighted_pool.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>

#include "check.h"
#include "ops/cpu/capability.h"
#include "ops/cpu/weighted_pool_kernel.h"

namespace hitpool {
namespace {

using cpu::PoolInputs;

constexpr int64_t kGrain = 32768;    // feature values and logits per task, below which a thread costs more than it saves
constexpr int64_t kMinBlock = 32;    // hits per task of backward_values
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kEventBytes = 1 << 20;  // features of an event that is handled as a whole in backward
constexpr int64_t kStreamBytes = 12 << 20;  // gradients that the next operation would hardly find in a cache

const cpu::PoolKernels& kernels() {
  static const auto& chosen = HITPOOL_CHOOSE(cpu::kernels);
  return chosen;
}

cpu::Dtype to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kDouble: return cpu::Dtype::float64;
    case at::kFloat: return cpu::Dtype::float32;
    case at::kBFloat16: return cpu::Dtype::bfloat16;
    default: return cpu::Dtype::float16;
  }
}

// Contiguous inputs and their sizes; keeps the copies alive.
struct Call {
  at::Tensor logits, values, valid;
  int64_t events = 1;
  PoolInputs inputs{};

  Call(
      const at::Tensor& logits_in,
      const at::Tensor& features,
      const std::optional<at::Tensor>& valid_in,
      double threshold) {
    TORCH_CHECK_VALUE(
        logits_in.size(-1) <= std::numeric_limits<int32_t>::max(),
        "hitpool::weighted_pool: expected at most 2^31 - 1 hits per event, got ", logits_in.size(-1));
    logits = logits_in.contiguous();
    values = features.contiguous();
    if (valid_in.has_value()) valid = valid_in->contiguous();
    for (int64_t d = 0; d < logits.dim() - 2; ++d) events *= logits.size(d);
    inputs = {
        logits.size(-2), logits.size(-1), values.size(-1), logits.const_data_ptr(), values.const_data_ptr(),
        valid.defined() ? valid.const_data_ptr<bool>() : nullptr, to_dtype(logits.scalar_type()),
        to_dtype(values.scalar_type()), threshold, kMinWeightSum};
  }

  bool values_are_arithmetic() const {
    return inputs.values_dtype == cpu::Dtype::float64 ||
           (inputs.values_dtype == cpu::Dtype::float32 && inputs.logits_dtype != cpu::Dtype::float64);
  }
  int64_t rows() const { return events * inputs.tracks; }
  int64_t row_grain() const {  // about one hit in eight is selected
    return std::max<int64_t>(1, kGrain / (1 + inputs.hits + inputs.hits * inputs.features / 8));
  }
};

void forward(const Call& call, at::Tensor& pooled, int32_t* index) {
  void* out = pooled.mutable_data_ptr();
  at::parallel_for(0, call.rows(), call.row_grain(), [&](int64_t begin, int64_t end) {
    kernels().forward(call.inputs, out, index, begin, end);
  });
}

at::Tensor weighted_pool_cpu(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const Call call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  forward(call, pooled, nullptr);
  return pooled;
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_with_index_cpu(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const Call call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  auto index = empty_index(logits, features);
  forward(call, pooled, index.mutable_data_ptr<int32_t>());
  return {std::move(pooled), std::move(index)};
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward_cpu(
    const at::Tensor& grad_in,
    const at::Tensor& index_in,
    const at::Tensor& logits,
    const at::Tensor& features,
    const std::optional<at::Tensor>& valid,
    double threshold) {
  check_weighted_pool_backward(grad_in, index_in, logits, features, valid, threshold);
  const Call call(logits, features, valid, threshold);
  const auto grad = grad_in.to(features.scalar_type()).contiguous();
  const auto index = index_in.contiguous();
  auto grad_logits = at::empty(logits.sizes(), logits.options());
  auto grad_values = at::empty(features.sizes(), features.options());
  const auto& inputs = call.inputs;
  void* grad_logits_data = grad_logits.mutable_data_ptr();
  void* grad_values_data = grad_values.mutable_data_ptr();

  // Event by event is fastest if every thread gets some, and what one event needs stays in a cache.
  const int64_t bytes = inputs.hits * inputs.features * features.element_size();
  const bool many_events = call.events >= (at::get_num_threads() == 1 ? 1 : kTasksPerThread * at::get_num_threads());
  if (call.values_are_arithmetic() && inputs.tracks > 0 && bytes <= kEventBytes && many_events) {
    const bool streams = static_cast<int64_t>(grad_values.nbytes()) > kStreamBytes;
    const int64_t grain = std::max<int64_t>(1, call.row_grain() / inputs.tracks);
    at::parallel_for(0, call.events, grain, [&](int64_t begin, int64_t end) {
      kernels().backward_events(
          inputs, grad.const_data_ptr(), index.const_data_ptr<int32_t>(), grad_logits_data, grad_values_data, streams,
          begin, end);
    });
    return {std::move(grad_logits), std::move(grad_values)};
  }

  auto weight_sum = at::empty({call.rows()}, logits.options().dtype(at::kDouble));
  auto* sums = weight_sum.mutable_data_ptr<double>();
  at::parallel_for(0, call.rows(), call.row_grain(), [&](int64_t begin, int64_t end) {
    kernels().backward_logits(inputs, grad.const_data_ptr(), grad_logits_data, sums, begin, end);
  });

  // An event is cut into blocks of hits if there are too few events for the threads.
  if (call.events == 0 || inputs.hits == 0) return {std::move(grad_logits), std::move(grad_values)};
  const int64_t wanted = at::divup(at::get_num_threads() * kTasksPerThread, call.events);
  const int64_t block = std::max(kMinBlock, at::divup(inputs.hits, wanted));
  const int64_t blocks = at::divup(inputs.hits, block);
  const int64_t work = block * (inputs.tracks + inputs.features);
  at::parallel_for(0, call.events * blocks, std::max<int64_t>(1, kGrain / (1 + work)), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t hit = task % blocks * block;
      kernels().backward_values(
          inputs, grad.const_data_ptr(), index.const_data_ptr<int32_t>(), sums, grad_values_data, task / blocks, hit,
          std::min(hit + block, inputs.hits));
    }
  });
  return {std::move(grad_logits), std::move(grad_values)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CPU, m) {
  m.impl("weighted_pool", TORCH_FN(weighted_pool_cpu));
  m.impl("_weighted_pool_with_index", TORCH_FN(weighted_pool_with_index_cpu));
  m.impl("_weighted_pool_backward", TORCH_FN(weighted_pool_backward_cpu));
}

}  // namespace hitpool
