#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "inference/capability.h"
#include "inference/check.h"
#include "ops/cpu/weighted_pool_kernel.h"

namespace hitpool::inference {
namespace {

constexpr const char* kOp = "weighted_pool";
constexpr int64_t kGrain = 32768;  // feature values and logits per task, below which a thread costs more than it saves

Dtype to_dtype(ScalarType type) {
  switch (type) {
    case ScalarType::Double: return Dtype::float64;
    case ScalarType::Float: return Dtype::float32;
    case ScalarType::BFloat16: return Dtype::bfloat16;
    default: return Dtype::float16;
  }
}

void check_weighted_pool(
    const Tensor& logits,                // [..., N, M]
    const Tensor& features,              // [..., M, D]
    const std::optional<Tensor>& valid,  // [..., M]
    double threshold) {
  check_float(kOp, "logits", logits);
  check_float(kOp, "features", features);
  check(logits.dim() >= 2, kOp, "logits", "shape [..., N, M]", logits.sizes());
  check(features.dim() >= 2, kOp, "features", "shape [..., M, D]", features.sizes());

  const Sizes events = logits.sizes().slice(0, logits.dim() - 2);
  const int64_t hits = logits.size(-1);
  check_count(kOp, "logits", "hits", hits);
  check(
      features.sizes().slice(0, features.dim() - 2).equals(events) && features.size(-2) == hits, kOp, "features",
      text("shape [..., M, D] that fits logits [..., N, M] = ", logits.sizes()), features.sizes());
  if (valid.has_value()) {
    check_bool(kOp, "valid", *valid);
    check(
        valid->dim() == logits.dim() - 1 && valid->sizes().slice(0, valid->dim() - 1).equals(events) &&
            valid->size(-1) == hits,
        kOp, "valid", text("shape [..., M] that fits logits [..., N, M] = ", logits.sizes()), valid->sizes());
  }
  check(0.0 <= threshold && threshold <= 1.0, kOp, "threshold", "0 <= threshold <= 1", threshold);
}

Tensor weighted_pool(
    const Tensor& logits_in, const Tensor& features, const std::optional<Tensor>& valid_in, double threshold) {
  check_weighted_pool(logits_in, features, valid_in, threshold);
  const auto logits = packed(logits_in), values = packed(features);
  const auto valid = packed(valid_in);
  PoolInputs in = {
      .events = 1,
      .tracks = logits.size(-2),
      .hits = logits.size(-1),
      .features = values.size(-1),
      .logits = logits.const_data_ptr(),
      .values = values.const_data_ptr(),
      .valid = bools(valid),
      .logits_dtype = to_dtype(logits.scalar_type()),
      .values_dtype = to_dtype(values.scalar_type()),
      .threshold = threshold,
      .min_weight_sum = kMinWeightSum};
  std::vector<int64_t> sizes;  // [..., N, 4, D]
  for (const int64_t size : logits.sizes().slice(0, logits.dim() - 2)) {
    sizes.push_back(size);
    in.events *= size;
  }
  sizes.insert(sizes.end(), {in.tracks, 4, in.features});

  auto pooled = empty(sizes, values.scalar_type());
  static const auto& chosen = HITPOOL_CHOOSE(cpu::kernels);
  const cpu::PoolOutputs outputs = {pooled.mutable_data_ptr(), nullptr, nullptr};
  // About one hit in eight is selected.
  const int64_t grain = std::max<int64_t>(1, kGrain / (1 + in.hits + in.hits * in.features / 8));
  torch::stable::parallel_for(0, in.events * in.tracks, grain, [&](int64_t begin, int64_t end) {
    chosen.forward(in, outputs, begin, end);
  });
  return pooled;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(hitpool, CPU, m) { m.impl("weighted_pool", TORCH_BOX(&weighted_pool)); }

}  // namespace hitpool::inference
