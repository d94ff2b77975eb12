#include "ops/toroid_fit.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "check.h"
#include "dispatch.h"
#include "ops/cpu/toroid_fit_kernel.h"

namespace hitpool {
namespace {

constexpr const char* kOp = "toroid_fit";

// Is `tensor` a float64 tensor beside `hits`?
void check_like_hits(const char* name, const at::Tensor& tensor, const at::Tensor& hits) {
  HITPOOL_CHECK_TYPE(tensor.scalar_type() == at::kDouble, kOp, name, "dtype float64", tensor.scalar_type());
  check_device(kOp, name, tensor, "hits", hits);
}

void check_table(const at::Tensor& hits, at::TensorList table) {
  HITPOOL_CHECK_VALUE(table.size() == 4, kOp, "table", "no tensor, or the four r, z, phi and B", table.size());
  constexpr const char* names[] = {"table[0]", "table[1]", "table[2]"};
  for (int axis = 0; axis < 3; ++axis) {
    const auto& grid = table[axis];
    check_like_hits(names[axis], grid, hits);
    HITPOOL_CHECK_VALUE(
        grid.dim() == 1 && holds(grid.sym_size(0).sym_ge(2)), kOp, names[axis], "shape [at least 2]", grid.sym_sizes());
  }
  const auto& values = table[3];
  check_like_hits("table[3]", values, hits);
  const c10::SymInt shape[] = {table[0].sym_size(0), table[1].sym_size(0), table[2].sym_size(0)};
  HITPOOL_CHECK_VALUE(
      are_equal(values.sym_sizes(), shape), kOp, "table[3]",
      c10::str("the shape of the grids, ", c10::SymIntArrayRef(shape)), values.sym_sizes());
}

}  // namespace

bool has_table(at::TensorList table) {
  return !(table.empty() || (table.size() == 1 && holds(table[0].sym_numel().sym_eq(0))));
}

void check_toroid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table, double threshold,
    int64_t max_hits) {
  HITPOOL_CHECK_TYPE(hits.scalar_type() == at::kDouble, kOp, "hits", "dtype float64", hits.scalar_type());
  HITPOOL_CHECK_VALUE(
      hits.dim() == 3 && holds(hits.sym_size(2).sym_eq(cpu::kToroidFields)), kOp, "hits", "shape [B, M, 10]",
      hits.sym_sizes());
  check_like_hits("logits", logits, hits);
  HITPOOL_CHECK_VALUE(
      logits.dim() == 3 && holds(logits.sym_size(0).sym_eq(hits.sym_size(0))) &&
          holds(logits.sym_size(2).sym_eq(hits.sym_size(1))),
      kOp, "logits", c10::str("shape [B, N, M] that fits hits [B, M, 10] = ", hits.sym_sizes()), logits.sym_sizes());
  check_count(kOp, "logits", "hits", logits.sym_size(2));
  if (valid.has_value()) {
    HITPOOL_CHECK_TYPE(valid->scalar_type() == at::kBool, kOp, "valid", "dtype bool", valid->scalar_type());
    check_device(kOp, "valid", *valid, "hits", hits);
    HITPOOL_CHECK_VALUE(
        are_equal(valid->sym_sizes(), hits.sym_sizes().slice(0, 2)), kOp, "valid",
        c10::str("shape [B, M] that fits hits [B, M, 10] = ", hits.sym_sizes()), valid->sym_sizes());
  }
  HITPOOL_CHECK_VALUE(geometry.size() == 11, kOp, "geometry", "11 numbers", geometry.size());
  if (!has_table(table)) {
    HITPOOL_CHECK_VALUE(field.size() == 10, kOp, "field", "the 10 numbers of a box field", field.size());
  } else {
    HITPOOL_CHECK_VALUE(field.size() == 2, kOp, "field", "period and mirrored, 2 numbers", field.size());
    check_table(hits, table);
  }
  HITPOOL_CHECK_VALUE(threshold >= 0 && threshold <= 1, kOp, "threshold", "a value in [0, 1]", threshold);
  HITPOOL_CHECK_VALUE(max_hits >= 1, kOp, "max_hits", "at least 1", max_hits);
}

std::tuple<at::Tensor, at::Tensor> toroid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table, double threshold,
    int64_t max_hits) {
  static const auto op = find_op<decltype(toroid_fit)>("hitpool::toroid_fit");
  return op.call(hits, logits, valid, geometry, field, table, threshold, max_hits);
}

namespace {

std::tuple<at::Tensor, at::Tensor> toroid_fit_meta(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table, double threshold,
    int64_t max_hits) {
  check_toroid_fit(hits, logits, valid, geometry, field, table, threshold, max_hits);
  const auto batch = logits.sym_size(0), tracks = logits.sym_size(1), count = logits.sym_size(2);
  return {
      at::empty_symint({batch, tracks, cpu::kToroidResults}, hits.options()),
      at::empty_symint({batch, tracks, cpu::kToroidOfHits, count}, hits.options())};
}

// There is no CUDA kernel. An exported model that is moved to a GPU holds this op: there it is computed on the CPU.
std::tuple<at::Tensor, at::Tensor> toroid_fit_by_cpu(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table, double threshold,
    int64_t max_hits) {
  check_toroid_fit(hits, logits, valid, geometry, field, table, threshold, max_hits);
  std::vector<at::Tensor> copied_table;
  for (const auto& tensor : table) copied_table.push_back(tensor.cpu());
  const auto copied_valid = valid.has_value() ? std::optional(valid->cpu()) : std::nullopt;
  const auto [of_tracks, of_hits] =
      toroid_fit(hits.cpu(), logits.cpu(), copied_valid, geometry, field, copied_table, threshold, max_hits);
  return {of_tracks.to(hits.device()), of_hits.to(hits.device())};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hitpool, m) {
  m.def(
      "toroid_fit(Tensor hits, Tensor logits, Tensor? valid, float[] geometry, float[] field, Tensor[] table, *, "
      "float threshold=0.1, int max_hits=64) -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(hitpool, Meta, m) { m.impl("toroid_fit", TORCH_FN(toroid_fit_meta)); }

TORCH_LIBRARY_IMPL(hitpool, CUDA, m) { m.impl("toroid_fit", TORCH_FN(toroid_fit_by_cpu)); }

}  // namespace hitpool
