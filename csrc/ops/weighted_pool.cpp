#include "ops/weighted_pool.h"

#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include "check.h"
#include "dispatch.h"
#include "ops/to_dtype.h"

namespace hitpool {
namespace {

constexpr const char* kOp = "weighted_pool";

// sizes[0 .. count-1]
c10::SymDimVector leading(const at::Tensor& tensor, int64_t count) {
  auto sizes = tensor.sym_sizes();
  return c10::SymDimVector(sizes.begin(), sizes.begin() + count);
}

// [..., N, rows, D]
c10::SymDimVector pooled_sizes(const at::Tensor& logits, const at::Tensor& features, int64_t rows) {
  auto sizes = leading(logits, logits.dim() - 1);  // [..., N]
  sizes.emplace_back(rows);
  sizes.push_back(features.sym_size(-1));
  return sizes;
}

// [..., N, D + 1]
c10::SymDimVector sums_sizes(const at::Tensor& logits, const at::Tensor& features) {
  auto sizes = leading(logits, logits.dim() - 1);  // [..., N]
  sizes.push_back(features.sym_size(-1) + 1);
  return sizes;
}

}  // namespace

void check_weighted_pool(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_float(kOp, "logits", logits);
  check_float(kOp, "features", features);
  HITPOOL_CHECK_VALUE(logits.dim() >= 2, kOp, "logits", "shape [..., N, M]", logits.sym_sizes());
  HITPOOL_CHECK_VALUE(features.dim() >= 2, kOp, "features", "shape [..., M, D]", features.sym_sizes());

  const auto events = leading(logits, logits.dim() - 2);
  const auto hits = logits.sym_size(-1);
  check_count(kOp, "logits", "hits", hits);
  HITPOOL_CHECK_VALUE(
      are_equal(leading(features, features.dim() - 2), events) && holds(features.sym_size(-2).sym_eq(hits)), kOp,
      "features", c10::str("shape [..., M, D] that fits logits [..., N, M] = ", logits.sym_sizes()),
      features.sym_sizes());
  check_device(kOp, "features", features, "logits", logits);

  if (valid.has_value()) {
    HITPOOL_CHECK_TYPE(valid->scalar_type() == at::kBool, kOp, "valid", "dtype bool", valid->scalar_type());
    HITPOOL_CHECK_VALUE(
        valid->dim() == logits.dim() - 1 && are_equal(leading(*valid, valid->dim() - 1), events) &&
            holds(valid->sym_size(-1).sym_eq(hits)),
        kOp, "valid", c10::str("shape [..., M] that fits logits [..., N, M] = ", logits.sym_sizes()),
        valid->sym_sizes());
    check_device(kOp, "valid", *valid, "logits", logits);
  }
  HITPOOL_CHECK_VALUE(0.0 <= threshold && threshold <= 1.0, kOp, "threshold", "0 <= threshold <= 1", threshold);
}

void check_weighted_pool_backward(
    const at::Tensor& grad, const at::Tensor& index, const at::Tensor& sums, const at::Tensor& logits,
    const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  constexpr const char* op = "_weighted_pool_backward";
  check_weighted_pool(logits, features, valid, threshold);
  check_float(op, "grad", grad);
  check_shape(op, "grad", grad, "[..., N, 4, D]", pooled_sizes(logits, features, 4));
  check_shape(op, "index", index, "[..., N, 2, D]", pooled_sizes(logits, features, 2));
  HITPOOL_CHECK_TYPE(index.scalar_type() == at::kInt, op, "index", "dtype int32", index.scalar_type());
  check_shape(op, "sums", sums, "[..., N, D + 1]", sums_sizes(logits, features));
  const auto type = arithmetic_type(logits, features);
  HITPOOL_CHECK_TYPE(sums.scalar_type() == type, op, "sums", c10::str("dtype ", type), sums.scalar_type());
  check_device(op, "grad", grad, "logits", logits);
  check_device(op, "index", index, "logits", logits);
  check_device(op, "sums", sums, "logits", logits);
}

at::ScalarType arithmetic_type(const at::Tensor& logits, const at::Tensor& features) {
  return logits.scalar_type() == at::kDouble || features.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor empty_pooled(const at::Tensor& logits, const at::Tensor& features) {
  return at::empty_symint(pooled_sizes(logits, features, 4), features.options());
}

at::Tensor empty_index(const at::Tensor& logits, const at::Tensor& features) {
  return at::empty_symint(pooled_sizes(logits, features, 2), features.options().dtype(at::kInt));
}

at::Tensor empty_sums(const at::Tensor& logits, const at::Tensor& features) {
  return at::empty_symint(sums_sizes(logits, features), features.options().dtype(arithmetic_type(logits, features)));
}

PoolCall::PoolCall(
    const at::Tensor& logits_in, const at::Tensor& features, const std::optional<at::Tensor>& valid_in,
    double threshold)
    : logits(logits_in.contiguous()),
      values(features.contiguous()),
      valid(valid_in.has_value() ? valid_in->contiguous() : at::Tensor()),
      inputs{
          .events = c10::multiply_integers(logits.sizes().slice(0, logits.dim() - 2)),
          .tracks = logits.size(-2),
          .hits = logits.size(-1),
          .features = values.size(-1),
          .logits = logits.const_data_ptr(),
          .values = values.const_data_ptr(),
          .valid = valid.defined() ? valid.const_data_ptr<bool>() : nullptr,
          .logits_dtype = to_dtype(logits.scalar_type()),
          .values_dtype = to_dtype(values.scalar_type()),
          .threshold = threshold,
          .min_weight_sum = kMinWeightSum} {}

at::Tensor weighted_pool(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  static const auto op = find_op<decltype(weighted_pool)>("hitpool::weighted_pool");
  return op.call(logits, features, valid, threshold);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> weighted_pool_for_backward(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  static const auto op = find_op<decltype(weighted_pool_for_backward)>("hitpool::_weighted_pool_for_backward");
  return op.call(logits, features, valid, threshold);
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward(
    const at::Tensor& grad, const at::Tensor& index, const at::Tensor& sums, const at::Tensor& logits,
    const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  static const auto op = find_op<decltype(weighted_pool_backward)>("hitpool::_weighted_pool_backward");
  return op.call(grad, index, sums, logits, features, valid, threshold);
}

namespace {

at::Tensor weighted_pool_meta(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  return empty_pooled(logits, features);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> weighted_pool_for_backward_meta(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  return {empty_pooled(logits, features), empty_index(logits, features), empty_sums(logits, features)};
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward_meta(
    const at::Tensor& grad, const at::Tensor& index, const at::Tensor& sums, const at::Tensor& logits,
    const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool_backward(grad, index, sums, logits, features, valid, threshold);
  return {
      at::empty_symint(logits.sym_sizes(), logits.options()),
      at::empty_symint(features.sym_sizes(), features.options())};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hitpool, m) {
  m.def(
      "weighted_pool(Tensor logits, Tensor features, Tensor? valid=None, *, float threshold=0.1) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  // The same, and what backward needs: the hits that the maxima and minima came from, sum(p x) and sum(p).
  m.def(
      "_weighted_pool_for_backward(Tensor logits, Tensor features, Tensor? valid=None, *, float threshold=0.1)"
      " -> (Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "_weighted_pool_backward(Tensor grad, Tensor index, Tensor sums, Tensor logits, Tensor features, Tensor? valid,"
      " float threshold)"
      " -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(hitpool, Meta, m) {
  m.impl("weighted_pool", TORCH_FN(weighted_pool_meta));
  m.impl("_weighted_pool_for_backward", TORCH_FN(weighted_pool_for_backward_meta));
  m.impl("_weighted_pool_backward", TORCH_FN(weighted_pool_backward_meta));
}

}  // namespace hitpool
