#include <torch/csrc/stable/library.h>

#include <memory>
#include <tuple>

#include "inference/capability.h"
#include "inference/check.h"
#include "ops/cpu/toroid_fit_kernel.h"

namespace hitpool::inference {
namespace {

constexpr const char* kOp = "toroid_fit";
constexpr int64_t kGrain = 8;  // tracks per task, below which a thread costs more than it saves

using Numbers = std::vector<double>;

void check_double(const char* name, const Tensor& tensor) {
  check(tensor.scalar_type() == ScalarType::Double, kOp, name, "dtype float64", tensor.scalar_type());
}

void check_table(const std::vector<Tensor>& table) {
  check(table.size() == 4, kOp, "table", "no tensor, or the four r, z, phi and B", table.size());
  constexpr const char* names[] = {"table[0]", "table[1]", "table[2]"};
  for (int axis = 0; axis < 3; ++axis) {
    const auto& grid = table[axis];
    check_double(names[axis], grid);
    check(grid.dim() == 1 && grid.size(0) >= 2, kOp, names[axis], "shape [at least 2]", grid.sizes());
  }
  check_double("table[3]", table[3]);
  const int64_t shape[] = {table[0].size(0), table[1].size(0), table[2].size(0)};
  check(
      table[3].sizes().equals(shape), kOp, "table[3]", text("the shape of the grids, ", Sizes(shape)),
      table[3].sizes());
}

// Does `table` hold one? Else the field is a box.
bool has_table(const std::vector<Tensor>& table) {
  return !(table.empty() || (table.size() == 1 && table[0].numel() == 0));
}

void check_toroid_fit(
    const Tensor& hits, const Tensor& logits, const std::optional<Tensor>& valid, const Numbers& geometry,
    const Numbers& field, const std::vector<Tensor>& table, double threshold, int64_t max_hits) {
  check_double("hits", hits);
  check(hits.dim() == 3 && hits.size(2) == cpu::kToroidFields, kOp, "hits", "shape [B, M, 10]", hits.sizes());
  check_double("logits", logits);
  check(
      logits.dim() == 3 && logits.size(0) == hits.size(0) && logits.size(2) == hits.size(1), kOp, "logits",
      text("shape [B, N, M] that fits hits [B, M, 10] = ", hits.sizes()), logits.sizes());
  check_count(kOp, "logits", "hits", logits.size(2));
  if (valid.has_value()) {
    check_bool(kOp, "valid", *valid);
    check(
        valid->sizes().equals(hits.sizes().slice(0, 2)), kOp, "valid",
        text("shape [B, M] that fits hits [B, M, 10] = ", hits.sizes()), valid->sizes());
  }
  check(geometry.size() == 11, kOp, "geometry", "11 numbers", geometry.size());
  if (!has_table(table)) {
    check(field.size() == 10, kOp, "field", "the 10 numbers of a box field", field.size());
  } else {
    check(field.size() == 2, kOp, "field", "period and mirrored, 2 numbers", field.size());
    check_table(table);
  }
  check(threshold >= 0 && threshold <= 1, kOp, "threshold", "a value in [0, 1]", threshold);
  check(max_hits >= 1, kOp, "max_hits", "at least 1", max_hits);
}

cpu::ToroidGeometry geometry_of(const Numbers& g) {
  return {g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10]};
}

cpu::BoxField box_of(const Numbers& f) { return {f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9]}; }

const double* doubles(const Tensor& tensor) { return static_cast<const double*>(tensor.const_data_ptr()); }

std::tuple<Tensor, Tensor> toroid_fit(
    const Tensor& hits_in, const Tensor& logits_in, const std::optional<Tensor>& valid_in, const Numbers& geometry,
    const Numbers& field, const std::vector<Tensor>& table_in, double threshold, int64_t max_hits) {
  check_toroid_fit(hits_in, logits_in, valid_in, geometry, field, table_in, threshold, max_hits);
  const auto hits = packed(hits_in), logits = packed(logits_in);
  const auto valid = packed(valid_in);
  const int64_t batch = logits.size(0), tracks = logits.size(1), count = logits.size(2);

  cpu::ToroidInputs inputs{};
  inputs.tracks = tracks;
  inputs.hits = count;
  inputs.fields = doubles(hits);
  inputs.logits = doubles(logits);
  inputs.valid = bools(valid);
  inputs.threshold = threshold;
  inputs.max_hits = max_hits;
  inputs.geometry = geometry_of(geometry);
  std::vector<Tensor> table;
  for (const auto& tensor : table_in) table.push_back(packed(tensor));
  if (!has_table(table)) {
    inputs.box = box_of(field);
  } else {
    inputs.table = {
        .r = doubles(table[0]),
        .z = doubles(table[1]),
        .phi = doubles(table[2]),
        .values = doubles(table[3]),
        .r_count = table[0].numel(),
        .z_count = table[1].numel(),
        .phi_count = table[2].numel(),
        .period = field[0],
        .mirrored = field[1] != 0};
  }

  auto of_tracks = empty({batch, tracks, int64_t{cpu::kToroidResults}}, ScalarType::Double);
  auto of_hits = empty({batch, tracks, int64_t{cpu::kToroidOfHits}, count}, ScalarType::Double);
  auto* to_tracks = static_cast<double*>(of_tracks.mutable_data_ptr());
  auto* to_hits = static_cast<double*>(of_hits.mutable_data_ptr());
  static const auto run = HITPOOL_CHOOSE(cpu::toroid_kernel);
  torch::stable::parallel_for(0, batch * tracks, kGrain, [&](int64_t begin, int64_t end) {
    const auto numbers = std::make_unique_for_overwrite<double[]>(cpu::toroid_numbers(inputs));
    const auto list = std::make_unique_for_overwrite<int32_t[]>(cpu::toroid_list(inputs));
    const cpu::ToroidScratch scratch{numbers.get(), list.get()};
    for (int64_t track = begin; track < end; ++track) run(inputs, to_tracks, to_hits, track, scratch);
  });
  return {std::move(of_tracks), std::move(of_hits)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(hitpool, CPU, m) { m.impl("toroid_fit", TORCH_BOX(&toroid_fit)); }

}  // namespace hitpool::inference
