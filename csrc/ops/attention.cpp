#include "ops/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/library.h>

#include "check.h"
#include "dispatch.h"

namespace hitpool {
namespace {

constexpr const char* kOp = "attention";

// Has `tensor` the dtype and the device of the queries?
void check_like_query(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& query) {
  const auto type = query.scalar_type();
  HITPOOL_CHECK_TYPE(
      tensor.scalar_type() == type, op, name, c10::str("the dtype of query, ", type), tensor.scalar_type());
  check_device(op, name, tensor, "query", query);
}

}  // namespace

void check_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window) {
  const auto type = query.scalar_type();
  HITPOOL_CHECK_TYPE(type == at::kDouble || type == at::kFloat, kOp, "query", "dtype float64 or float32", type);
  HITPOOL_CHECK_VALUE(query.dim() == 4, kOp, "query", "shape [B, Q, H, E]", query.sym_sizes());
  HITPOOL_CHECK_VALUE(
      holds(query.sym_size(3).sym_eq(4).sym_or(query.sym_size(3).sym_eq(8))), kOp, "query", "4 or 8 features per head",
      query.sym_sizes());
  for (const auto& [name, tensor] : {std::pair<const char*, const at::Tensor&>{"key", key}, {"value", value}}) {
    check_like_query(kOp, name, tensor, query);
    HITPOOL_CHECK_VALUE(
        tensor.dim() == 4 &&
            are_equal(tensor.sym_sizes(), {query.sym_size(0), key.sym_size(1), query.sym_size(2), query.sym_size(3)}),
        kOp, name, c10::str("shape [B, K, H, E] that fits query [B, Q, H, E] = ", query.sym_sizes()),
        tensor.sym_sizes());
  }
  check_count(kOp, "key", "keys", key.sym_size(1));
  HITPOOL_CHECK_VALUE(window >= 0 && window % 2 == 0, kOp, "window", "an even value, 0 for none", window);
  if (window != 0) {
    HITPOOL_CHECK_VALUE(
        holds(query.sym_size(1).sym_eq(key.sym_size(1))), kOp, "query", "the hits of key, because of the window",
        query.sym_sizes());
    constexpr const char* expected = "shape [B, 1, K], because of the window";
    HITPOOL_CHECK_VALUE(mask.has_value(), kOp, "mask", expected, "None");
    HITPOOL_CHECK_VALUE(
        mask->dim() == 3 && holds(mask->sym_size(1).sym_eq(1)), kOp, "mask", expected, mask->sym_sizes());
  }
  if (!mask.has_value()) return;
  HITPOOL_CHECK_TYPE(mask->scalar_type() == at::kBool, kOp, "mask", "dtype bool", mask->scalar_type());
  check_device(kOp, "mask", *mask, "query", query);
  HITPOOL_CHECK_VALUE(
      mask->dim() == 3 && holds(mask->sym_size(0).sym_eq(query.sym_size(0))) &&
          holds(mask->sym_size(1).sym_eq(1).sym_or(mask->sym_size(1).sym_eq(query.sym_size(1)))) &&
          holds(mask->sym_size(2).sym_eq(key.sym_size(1))),
      kOp, "mask", c10::str("shape [B, 1 or Q, K] that fits query ", query.sym_sizes(), " and key ", key.sym_sizes()),
      mask->sym_sizes());
}

void check_attention_backward(
    const at::Tensor& grad, const at::Tensor& out, const at::Tensor& log_sum, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask, int64_t window) {
  constexpr const char* op = "_attention_backward";
  check_attention(query, key, value, mask, window);
  check_like_query(op, "grad", grad, query);
  check_like_query(op, "out", out, query);
  check_like_query(op, "log_sum", log_sum, query);
  check_shape(op, "grad", grad, "[B, Q, H, E]", query.sym_sizes());
  check_shape(op, "out", out, "[B, Q, H, E]", query.sym_sizes());
  check_shape(op, "log_sum", log_sum, "[B, H, Q]", {query.sym_size(0), query.sym_size(2), query.sym_size(1)});
}

at::Tensor window_pairs(const at::Tensor& mask, int64_t window, bool wrap) {
  const auto rank = mask.cumsum(-1);  // [B, 1, K]
  auto away = (rank.mT() - rank).abs();
  if (wrap) away = away.minimum(mask.sum(-1, /*keepdim=*/true) - away);
  return away.le(window / 2) & mask & mask.mT();
}

at::Tensor attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap) {
  static const auto op = find_op<decltype(attention)>("hitpool::attention");
  return op.call(query, key, value, mask, window, wrap);
}

std::tuple<at::Tensor, at::Tensor> attention_with_log_sum(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap) {
  static const auto op = find_op<decltype(attention_with_log_sum)>("hitpool::_attention_with_log_sum");
  return op.call(query, key, value, mask, window, wrap);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& grad, const at::Tensor& out, const at::Tensor& log_sum, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask, int64_t window, bool wrap) {
  static const auto op = find_op<decltype(attention_backward)>("hitpool::_attention_backward");
  return op.call(grad, out, log_sum, query, key, value, mask, window, wrap);
}

namespace {

at::Tensor attention_meta(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool /*wrap*/) {
  check_attention(query, key, value, mask, window);
  return at::empty_symint(query.sym_sizes(), query.options());
}

std::tuple<at::Tensor, at::Tensor> attention_with_log_sum_meta(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap) {
  return {
      attention_meta(query, key, value, mask, window, wrap),
      at::empty_symint({query.sym_size(0), query.sym_size(2), query.sym_size(1)}, query.options())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_meta(
    const at::Tensor& grad, const at::Tensor& out, const at::Tensor& log_sum, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask, int64_t window,
    bool /*wrap*/) {
  check_attention_backward(grad, out, log_sum, query, key, value, mask, window);
  const auto like = [](const at::Tensor& tensor) { return at::empty_symint(tensor.sym_sizes(), tensor.options()); };
  return {like(query), like(key), like(value)};
}

// On GPUs torch's own kernel is the fast one: an exported model that is moved there runs it.
at::Tensor attention_by_torch(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap) {
  check_attention(query, key, value, mask, window);
  std::optional<at::Tensor> by_head;  // [B, 1, 1 or Q, K]
  if (mask.has_value()) by_head = (window != 0 ? window_pairs(*mask, window, wrap) : *mask).unsqueeze(1);
  return at::scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), by_head)
      .transpose(1, 2)
      .contiguous();
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hitpool, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def(
      "attention(Tensor query, Tensor key, Tensor value, Tensor? mask=None, int window=0, bool wrap=False) -> Tensor",
      tags);
  m.def(
      "_attention_with_log_sum(Tensor query, Tensor key, Tensor value, Tensor? mask, int window, bool wrap) -> "
      "(Tensor, Tensor)",
      tags);
  m.def(
      "_attention_backward(Tensor grad, Tensor out, Tensor log_sum, Tensor query, Tensor key, Tensor value, "
      "Tensor? mask, int window, bool wrap) -> (Tensor, Tensor, Tensor)",
      tags);
}

TORCH_LIBRARY_IMPL(hitpool, Meta, m) {
  m.impl("attention", TORCH_FN(attention_meta));
  m.impl("_attention_with_log_sum", TORCH_FN(attention_with_log_sum_meta));
  m.impl("_attention_backward", TORCH_FN(attention_backward_meta));
}

TORCH_LIBRARY_IMPL(hitpool, CUDA, m) { m.impl("attention", TORCH_FN(attention_by_torch)); }

}  // namespace hitpool
