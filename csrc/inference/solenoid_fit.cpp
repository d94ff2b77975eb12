#include <torch/csrc/stable/library.h>

#include <cmath>
#include <memory>
#include <tuple>

#include "inference/capability.h"
#include "inference/check.h"
#include "ops/cpu/solenoid_fit_kernel.h"

namespace hitpool::inference {
namespace {

constexpr const char* kOp = "solenoid_fit";
constexpr int64_t kGrain = 8;  // tracks per task, below which a thread costs more than it saves

using Numbers = std::vector<double>;

void check_solenoid_fit(
    const Tensor& hits, const Tensor& logits, const std::optional<Tensor>& valid, double field,
    double radiation_lengths, const Numbers& beam_spot, double threshold, int64_t max_hits) {
  check(hits.scalar_type() == ScalarType::Double, kOp, "hits", "dtype float64", hits.scalar_type());
  check(hits.dim() == 3 && hits.size(2) == cpu::kSolenoidFields, kOp, "hits", "shape [B, M, 11]", hits.sizes());
  check(logits.scalar_type() == ScalarType::Double, kOp, "logits", "dtype float64", logits.scalar_type());
  check(
      logits.dim() == 3 && logits.size(0) == hits.size(0) && logits.size(2) == hits.size(1), kOp, "logits",
      text("shape [B, N, M] that fits hits [B, M, 11] = ", hits.sizes()), logits.sizes());
  check_count(kOp, "logits", "hits", logits.size(2));
  if (valid.has_value()) {
    check_bool(kOp, "valid", *valid);
    check(
        valid->sizes().equals(hits.sizes().slice(0, 2)), kOp, "valid",
        text("shape [B, M] that fits hits [B, M, 11] = ", hits.sizes()), valid->sizes());
  }
  check(std::isfinite(field) && field != 0, kOp, "field", "a finite value other than 0", field);
  check(radiation_lengths > 0, kOp, "radiation_lengths", "a positive value", radiation_lengths);
  check(beam_spot.size() == 2, kOp, "beam_spot", "2 numbers", beam_spot.size());
  for (const double spread : beam_spot) check(spread > 0, kOp, "beam_spot", "positive values", spread);
  check(threshold >= 0 && threshold <= 1, kOp, "threshold", "a value in [0, 1]", threshold);
  check(max_hits >= 1, kOp, "max_hits", "at least 1", max_hits);
}

std::tuple<Tensor, Tensor> solenoid_fit(
    const Tensor& hits_in, const Tensor& logits_in, const std::optional<Tensor>& valid_in, double field,
    double radiation_lengths, const Numbers& beam_spot, double threshold, int64_t max_hits) {
  check_solenoid_fit(hits_in, logits_in, valid_in, field, radiation_lengths, beam_spot, threshold, max_hits);
  const auto hits = packed(hits_in), logits = packed(logits_in);
  const auto valid = packed(valid_in);
  const int64_t batch = logits.size(0), tracks = logits.size(1), count = logits.size(2);

  const cpu::SolenoidInputs inputs{
      .tracks = tracks,
      .hits = count,
      .fields = static_cast<const double*>(hits.const_data_ptr()),
      .logits = static_cast<const double*>(logits.const_data_ptr()),
      .valid = bools(valid),
      .threshold = threshold,
      .max_hits = max_hits,
      .field = field,
      .radiation_lengths = radiation_lengths,
      .beam_spot = {beam_spot[0], beam_spot[1]}};
  auto of_tracks = empty({batch, tracks, int64_t{cpu::kSolenoidResults}}, ScalarType::Double);
  auto posterior = empty({batch, tracks, count}, ScalarType::Double);
  auto* to_tracks = static_cast<double*>(of_tracks.mutable_data_ptr());
  auto* to_hits = static_cast<double*>(posterior.mutable_data_ptr());
  static const auto run = HITPOOL_CHOOSE(cpu::solenoid_kernel);
  torch::stable::parallel_for(0, batch * tracks, kGrain, [&](int64_t begin, int64_t end) {
    const auto numbers = std::make_unique_for_overwrite<double[]>(cpu::solenoid_numbers(inputs));
    const auto list = std::make_unique_for_overwrite<int32_t[]>(cpu::solenoid_list(inputs));
    const cpu::SolenoidScratch scratch{numbers.get(), list.get()};
    for (int64_t track = begin; track < end; ++track) run(inputs, to_tracks, to_hits, track, scratch);
  });
  return {std::move(of_tracks), std::move(posterior)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(hitpool, CPU, m) { m.impl("solenoid_fit", TORCH_BOX(&solenoid_fit)); }

}  // namespace hitpool::inference
