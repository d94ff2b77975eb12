#include "ops/solenoid_fit.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>

#include "check.h"
#include "dispatch.h"
#include "ops/cpu/solenoid_fit_kernel.h"

namespace hitpool {
namespace {

constexpr const char* kOp = "solenoid_fit";

}  // namespace

void check_solenoid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits) {
  HITPOOL_CHECK_TYPE(hits.scalar_type() == at::kDouble, kOp, "hits", "dtype float64", hits.scalar_type());
  HITPOOL_CHECK_VALUE(
      hits.dim() == 3 && holds(hits.sym_size(2).sym_eq(cpu::kSolenoidFields)), kOp, "hits", "shape [B, M, 11]",
      hits.sym_sizes());
  HITPOOL_CHECK_TYPE(logits.scalar_type() == at::kDouble, kOp, "logits", "dtype float64", logits.scalar_type());
  check_device(kOp, "logits", logits, "hits", hits);
  HITPOOL_CHECK_VALUE(
      logits.dim() == 3 && holds(logits.sym_size(0).sym_eq(hits.sym_size(0))) &&
          holds(logits.sym_size(2).sym_eq(hits.sym_size(1))),
      kOp, "logits", c10::str("shape [B, N, M] that fits hits [B, M, 11] = ", hits.sym_sizes()), logits.sym_sizes());
  check_count(kOp, "logits", "hits", logits.sym_size(2));
  if (valid.has_value()) {
    HITPOOL_CHECK_TYPE(valid->scalar_type() == at::kBool, kOp, "valid", "dtype bool", valid->scalar_type());
    check_device(kOp, "valid", *valid, "hits", hits);
    HITPOOL_CHECK_VALUE(
        are_equal(valid->sym_sizes(), hits.sym_sizes().slice(0, 2)), kOp, "valid",
        c10::str("shape [B, M] that fits hits [B, M, 11] = ", hits.sym_sizes()), valid->sym_sizes());
  }
  HITPOOL_CHECK_VALUE(std::isfinite(field) && field != 0, kOp, "field", "a finite value other than 0", field);
  HITPOOL_CHECK_VALUE(radiation_lengths > 0, kOp, "radiation_lengths", "a positive value", radiation_lengths);
  HITPOOL_CHECK_VALUE(beam_spot.size() == 2, kOp, "beam_spot", "2 numbers", beam_spot.size());
  for (const double spread : beam_spot) {
    HITPOOL_CHECK_VALUE(spread > 0, kOp, "beam_spot", "positive values", spread);
  }
  HITPOOL_CHECK_VALUE(threshold >= 0 && threshold <= 1, kOp, "threshold", "a value in [0, 1]", threshold);
  HITPOOL_CHECK_VALUE(max_hits >= 1, kOp, "max_hits", "at least 1", max_hits);
}

std::tuple<at::Tensor, at::Tensor> solenoid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits) {
  static const auto op = find_op<decltype(solenoid_fit)>("hitpool::solenoid_fit");
  return op.call(hits, logits, valid, field, radiation_lengths, beam_spot, threshold, max_hits);
}

namespace {

std::tuple<at::Tensor, at::Tensor> solenoid_fit_meta(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits) {
  check_solenoid_fit(hits, logits, valid, field, radiation_lengths, beam_spot, threshold, max_hits);
  const auto batch = logits.sym_size(0), tracks = logits.sym_size(1), count = logits.sym_size(2);
  return {
      at::empty_symint({batch, tracks, cpu::kSolenoidResults}, hits.options()),
      at::empty_symint({batch, tracks, count}, hits.options())};
}

// There is no CUDA kernel. An exported model that is moved to a GPU holds this op: there it is computed on the CPU.
std::tuple<at::Tensor, at::Tensor> solenoid_fit_by_cpu(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits) {
  check_solenoid_fit(hits, logits, valid, field, radiation_lengths, beam_spot, threshold, max_hits);
  const auto copied_valid = valid.has_value() ? std::optional(valid->cpu()) : std::nullopt;
  const auto [of_tracks, posterior] =
      solenoid_fit(hits.cpu(), logits.cpu(), copied_valid, field, radiation_lengths, beam_spot, threshold, max_hits);
  return {of_tracks.to(hits.device()), posterior.to(hits.device())};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hitpool, m) {
  m.def(
      "solenoid_fit(Tensor hits, Tensor logits, Tensor? valid, float field, float radiation_lengths, "
      "float[] beam_spot, *, float threshold=0.1, int max_hits=16) -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(hitpool, Meta, m) { m.impl("solenoid_fit", TORCH_FN(solenoid_fit_meta)); }

TORCH_LIBRARY_IMPL(hitpool, CUDA, m) { m.impl("solenoid_fit", TORCH_FN(solenoid_fit_by_cpu)); }

}  // namespace hitpool
