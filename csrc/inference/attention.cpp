#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <memory>

#include "inference/capability.h"
#include "inference/check.h"
#include "ops/cpu/attention_kernel.h"

namespace hitpool::inference {
namespace {

constexpr const char* kOp = "attention";
constexpr int64_t kGrain = 32768;  // scores per task, below which a thread costs more than it saves

void check_attention(
    const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& mask, int64_t window) {
  const auto type = query.scalar_type();
  check(type == ScalarType::Double || type == ScalarType::Float, kOp, "query", "dtype float64 or float32", type);
  check(query.dim() == 4, kOp, "query", "shape [B, Q, H, E]", query.sizes());
  check(query.size(3) == 4 || query.size(3) == 8, kOp, "query", "4 or 8 features per head", query.sizes());
  for (const auto& [name, tensor] : {std::pair<const char*, const Tensor&>{"key", key}, {"value", value}}) {
    check(tensor.scalar_type() == type, kOp, name, text("the dtype of query, ", type), tensor.scalar_type());
    check(
        tensor.dim() == 4 && tensor.size(0) == query.size(0) && tensor.size(1) == key.size(1) &&
            tensor.size(2) == query.size(2) && tensor.size(3) == query.size(3),
        kOp, name, text("shape [B, K, H, E] that fits query [B, Q, H, E] = ", query.sizes()), tensor.sizes());
  }
  check_count(kOp, "key", "keys", key.size(1));
  check(window >= 0 && window % 2 == 0, kOp, "window", "an even value, 0 for none", window);
  if (window != 0) {
    check(query.size(1) == key.size(1), kOp, "query", "the hits of key, because of the window", query.sizes());
    constexpr const char* expected = "shape [B, 1, K], because of the window";
    check(mask.has_value(), kOp, "mask", expected, "None");
    check(mask->dim() == 3 && mask->size(1) == 1, kOp, "mask", expected, mask->sizes());
  }
  if (!mask.has_value()) return;
  check_bool(kOp, "mask", *mask);
  check(
      mask->dim() == 3 && mask->size(0) == query.size(0) && (mask->size(1) == 1 || mask->size(1) == query.size(1)) &&
          mask->size(2) == key.size(1),
      kOp, "mask", text("shape [B, 1 or Q, K] that fits query ", query.sizes(), " and key ", key.sizes()),
      mask->sizes());
}

Tensor contiguous_features(const Tensor& tensor) {
  return tensor.size(-1) == 1 || tensor.stride(-1) == 1 ? tensor : torch::stable::contiguous(tensor);
}

cpu::AttentionArray array(const Tensor& tensor) {
  return {tensor.const_data_ptr(), tensor.stride(0), tensor.stride(1), tensor.stride(2)};
}

Tensor attention(
    const Tensor& query_in, const Tensor& key_in, const Tensor& value_in, const std::optional<Tensor>& mask_in,
    int64_t window, bool wrap) {
  check_attention(query_in, key_in, value_in, mask_in, window);
  const auto query = contiguous_features(query_in), key = contiguous_features(key_in),
             value = contiguous_features(value_in);
  cpu::AttentionInputs in{};
  in.queries = query.size(1);
  in.keys = key.size(1);
  in.heads = query.size(2);
  in.size = query.size(3);
  in.window = std::min(window, 2 * in.keys);  // that sees everything
  in.wrap = wrap;
  in.query = array(query);
  in.key = array(key);
  in.value = array(value);
  auto mask = mask_in;
  if (mask.has_value()) {
    mask = contiguous_features(*mask);
    in.mask = bools(mask);
    in.mask_event = mask->stride(0);
    in.mask_query = mask->size(1) == 1 ? 0 : mask->stride(1);
  }

  const auto type = query.scalar_type();
  auto out = empty(query.sizes(), type);
  void* to = out.mutable_data_ptr();
  static const auto& chosen = HITPOOL_CHOOSE(cpu::attention_kernels);
  const auto& sizes = type == ScalarType::Double ? chosen.float64 : chosen.float32;
  const auto run = (in.size == 4 ? sizes.size4 : sizes.size8).forward;
  const int64_t bytes = cpu::attention_forward_scratch(in) * static_cast<int64_t>(query.element_size());
  const int64_t blocks = (in.queries + cpu::kAttentionLanes - 1) / cpu::kAttentionLanes;
  const int64_t scores = cpu::kAttentionLanes * cpu::attention_block_keys(in) * in.heads;
  torch::stable::parallel_for(
      0, query.size(0) * blocks, std::max<int64_t>(1, kGrain / (1 + scores)), [&](int64_t begin, int64_t end) {
        const auto list = std::make_unique_for_overwrite<int32_t[]>(2 * in.keys);
        const auto scratch = std::make_unique_for_overwrite<char[]>(bytes);
        for (int64_t task = begin; task < end; ++task) {
          run(in, to, nullptr, task / blocks, task % blocks * cpu::kAttentionLanes, list.get(), scratch.get());
        }
      });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(hitpool, CPU, m) { m.impl("attention", TORCH_BOX(&attention)); }

}  // namespace hitpool::inference
