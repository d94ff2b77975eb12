#include "ops/weighted_pool.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "ops/cpu/capability.h"
#include "ops/cpu/weighted_pool_kernel.h"

namespace hitpool {
namespace {

constexpr int64_t kGrain = 32768;  // feature values and logits per task, below which a thread costs more than it saves
constexpr int64_t kTasksPerThread = 4;

// Backward: a block of hits, whose features and gradients stay in a cache while the tracks take turns.
constexpr int64_t kBlockBytes = 1 << 18;
constexpr int64_t kMinBlock = 16;  // hits

const cpu::PoolKernels& kernels() {
  static const auto& chosen = HITPOOL_CHOOSE(cpu::kernels);
  return chosen;
}

void forward(const PoolInputs& in, const cpu::PoolOutputs& outputs) {
  // About one hit in eight is selected.
  const int64_t grain = std::max<int64_t>(1, kGrain / (1 + in.hits + in.hits * in.features / 8));
  at::parallel_for(0, in.events * in.tracks, grain, [&](int64_t begin, int64_t end) {
    kernels().forward(in, outputs, begin, end);
  });
}

at::Tensor weighted_pool_cpu(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const PoolCall call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  forward(call.inputs, {pooled.mutable_data_ptr(), nullptr, nullptr});
  return pooled;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> weighted_pool_for_backward_cpu(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const PoolCall call(logits, features, valid, threshold);
  auto pooled = empty_pooled(logits, features);
  auto index = empty_index(logits, features);
  auto sums = empty_sums(logits, features);
  forward(call.inputs, {pooled.mutable_data_ptr(), index.mutable_data_ptr<int32_t>(), sums.mutable_data_ptr()});
  return {std::move(pooled), std::move(index), std::move(sums)};
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward_cpu(
    const at::Tensor& grad_in, const at::Tensor& index_in, const at::Tensor& sums_in, const at::Tensor& logits,
    const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool_backward(grad_in, index_in, sums_in, logits, features, valid, threshold);
  const PoolCall call(logits, features, valid, threshold);
  const auto grad = grad_in.to(features.scalar_type()).contiguous();
  const auto index = index_in.contiguous(), sums = sums_in.contiguous();
  auto grad_logits = at::empty(logits.sizes(), logits.options());
  auto grad_values = at::empty(features.sizes(), features.options());
  const auto& in = call.inputs;
  if (in.tracks == 0 || in.features == 0) return {grad_logits.zero_(), grad_values.zero_()};
  if (in.events == 0 || in.hits == 0) return {std::move(grad_logits), std::move(grad_values)};

  const int64_t in_cache = kBlockBytes / (in.features * static_cast<int64_t>(sums.element_size()));
  const int64_t per_task = at::divup(in.events * in.hits, kTasksPerThread * at::get_num_threads());
  const int64_t block = std::min(std::max(std::min(in_cache, per_task), kMinBlock), in.hits);
  const int64_t blocks = in.events * at::divup(in.hits, block);
  const int64_t work = block * (in.tracks + in.features + in.tracks * in.features / 8);  // of a block
  const cpu::PoolGradients gradients = {
      .grad_pooled = grad.const_data_ptr(),
      .index = index.const_data_ptr<int32_t>(),
      .sums = sums.const_data_ptr(),
      .grad_logits = grad_logits.mutable_data_ptr(),
      .grad_values = grad_values.mutable_data_ptr(),
      .block = block};
  at::parallel_for(0, blocks, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end) {
    kernels().backward(in, gradients, begin, end);
  });
  return {std::move(grad_logits), std::move(grad_values)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CPU, m) {
  m.impl("weighted_pool", TORCH_FN(weighted_pool_cpu));
  m.impl("_weighted_pool_for_backward", TORCH_FN(weighted_pool_for_backward_cpu));
  m.impl("_weighted_pool_backward", TORCH_FN(weighted_pool_backward_cpu));
}

}  // namespace hitpool
