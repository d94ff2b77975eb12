#include "ops/toroid_fit.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <memory>

#include "ops/cpu/capability.h"
#include "ops/cpu/toroid_fit_kernel.h"

namespace hitpool {
namespace {

constexpr int64_t kGrain = 8;  // tracks per task, below which a thread costs more than it saves

cpu::ToroidGeometry geometry_of(at::ArrayRef<double> g) {
  return {g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10]};
}

cpu::BoxField box_of(at::ArrayRef<double> f) { return {f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9]}; }

std::tuple<at::Tensor, at::Tensor> toroid_fit_cpu(
    const at::Tensor& hits_in, const at::Tensor& logits_in, const std::optional<at::Tensor>& valid_in,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table_in, double threshold,
    int64_t max_hits) {
  check_toroid_fit(hits_in, logits_in, valid_in, geometry, field, table_in, threshold, max_hits);
  const auto hits = hits_in.contiguous(), logits = logits_in.contiguous();
  const auto valid = valid_in.has_value() ? valid_in->contiguous() : at::Tensor();
  const int64_t batch = logits.size(0), tracks = logits.size(1), count = logits.size(2);

  cpu::ToroidInputs inputs{};
  inputs.tracks = tracks;
  inputs.hits = count;
  inputs.fields = hits.const_data_ptr<double>();
  inputs.logits = logits.const_data_ptr<double>();
  inputs.valid = valid.defined() ? valid.const_data_ptr<bool>() : nullptr;
  inputs.threshold = threshold;
  inputs.max_hits = max_hits;
  inputs.geometry = geometry_of(geometry);
  std::vector<at::Tensor> table;
  for (const auto& tensor : table_in) table.push_back(tensor.contiguous());
  if (!has_table(table)) {
    inputs.box = box_of(field);
  } else {
    const auto data = [&](int i) { return table[i].const_data_ptr<double>(); };
    inputs.table = {
        .r = data(0),
        .z = data(1),
        .phi = data(2),
        .values = data(3),
        .r_count = table[0].numel(),
        .z_count = table[1].numel(),
        .phi_count = table[2].numel(),
        .period = field[0],
        .mirrored = field[1] != 0};
  }

  auto of_tracks = at::empty({batch, tracks, cpu::kToroidResults}, hits.options());
  auto of_hits = at::empty({batch, tracks, cpu::kToroidOfHits, count}, hits.options());
  double* to_tracks = of_tracks.mutable_data_ptr<double>();
  double* to_hits = of_hits.mutable_data_ptr<double>();
  static const auto run = HITPOOL_CHOOSE(cpu::toroid_kernel);
  at::parallel_for(0, batch * tracks, kGrain, [&](int64_t begin, int64_t end) {
    const auto numbers = std::make_unique_for_overwrite<double[]>(cpu::toroid_numbers(inputs));
    const auto list = std::make_unique_for_overwrite<int32_t[]>(cpu::toroid_list(inputs));
    const cpu::ToroidScratch scratch{numbers.get(), list.get()};
    for (int64_t track = begin; track < end; ++track) run(inputs, to_tracks, to_hits, track, scratch);
  });
  return {std::move(of_tracks), std::move(of_hits)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CPU, m) { m.impl("toroid_fit", TORCH_FN(toroid_fit_cpu)); }

}  // namespace hitpool
