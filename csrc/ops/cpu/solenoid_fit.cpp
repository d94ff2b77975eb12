#include "ops/solenoid_fit.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <memory>

#include "ops/cpu/capability.h"
#include "ops/cpu/solenoid_fit_kernel.h"

namespace hitpool {
namespace {

constexpr int64_t kGrain = 8;  // tracks per task, below which a thread costs more than it saves

std::tuple<at::Tensor, at::Tensor> solenoid_fit_cpu(
    const at::Tensor& hits_in, const at::Tensor& logits_in, const std::optional<at::Tensor>& valid_in, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits) {
  check_solenoid_fit(hits_in, logits_in, valid_in, field, radiation_lengths, beam_spot, threshold, max_hits);
  const auto hits = hits_in.contiguous(), logits = logits_in.contiguous();
  const auto valid = valid_in.has_value() ? valid_in->contiguous() : at::Tensor();
  const int64_t batch = logits.size(0), tracks = logits.size(1), count = logits.size(2);

  const cpu::SolenoidInputs inputs{
      .tracks = tracks,
      .hits = count,
      .fields = hits.const_data_ptr<double>(),
      .logits = logits.const_data_ptr<double>(),
      .valid = valid.defined() ? valid.const_data_ptr<bool>() : nullptr,
      .threshold = threshold,
      .max_hits = max_hits,
      .field = field,
      .radiation_lengths = radiation_lengths,
      .beam_spot = {beam_spot[0], beam_spot[1]}};
  auto of_tracks = at::empty({batch, tracks, cpu::kSolenoidResults}, hits.options());
  auto posterior = at::empty({batch, tracks, count}, hits.options());
  double* to_tracks = of_tracks.mutable_data_ptr<double>();
  double* to_hits = posterior.mutable_data_ptr<double>();
  static const auto run = HITPOOL_CHOOSE(cpu::solenoid_kernel);
  at::parallel_for(0, batch * tracks, kGrain, [&](int64_t begin, int64_t end) {
    const auto numbers = std::make_unique_for_overwrite<double[]>(cpu::solenoid_numbers(inputs));
    const auto list = std::make_unique_for_overwrite<int32_t[]>(cpu::solenoid_list(inputs));
    const cpu::SolenoidScratch scratch{numbers.get(), list.get()};
    for (int64_t track = begin; track < end; ++track) run(inputs, to_tracks, to_hits, track, scratch);
  });
  return {std::move(of_tracks), std::move(posterior)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CPU, m) { m.impl("solenoid_fit", TORCH_FN(solenoid_fit_cpu)); }

}  // namespace hitpool
