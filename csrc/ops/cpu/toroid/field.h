// The azimuthal magnetic field in T at points of a path, positive where it bends positive particles to larger z.
#pragma once
#include "ops/cpu/toroid/numbers.h"
#include "ops/cpu/toroid_fit_kernel.h"

namespace hitpool::cpu::toroid {
namespace {

// Strength / r in boxes with soft edges: the share of a box is a product of sigmoids of the distances to its edges.
inline void box_field(const BoxField& box, const double* r_in, const double* z_in, int size, double* field) {
  const double steepness = 1 / box.softness;
  const auto edge = [steepness](double distance) { return 1 + exponential(-distance * steepness); };  // 1 / sigmoid
#pragma omp simd
  for (int i = 0; i < size; ++i) {
    const double r = r_in[i] < 0.3 ? 0.3 : r_in[i], z = __builtin_fabs(z_in[i]);
    const double endcap = 1 / (edge(r - box.endcap_inner) * edge(box.endcap_outer - r) * edge(z - box.endcap_start) *
                               edge(box.endcap_end - z));
    const double barrel = 1 / (edge(r - box.barrel_inner) * edge(box.barrel_outer - r) * edge(box.barrel_end - z));
    field[i] = (box.barrel * (1 - endcap) * barrel + box.endcap * endcap) / r;
  }
}

// A cell of a grid and the place in it from 0 to 1. Points of a path lie close to each other: the search begins where
// it ended for the point before. NaN stays in the cell.
struct Cell {
  int64_t number = 0;
  double place = 0;

  void move(const double* grid, int64_t count, double value) {
    while (number < count - 2 && value >= grid[number + 1]) ++number;
    while (number > 0 && value < grid[number]) --number;
    place = within((value - grid[number]) / (grid[number + 1] - grid[number]), 0, 1);
  }
};

// Linear between the points of a table, 0 outside of it in r and z.
inline void table_field(
    const FieldTable& table, const double* r_in, const double* z_in, double phi, int size, double* field) {
  const double start = table.phi[0];
  double turned = __builtin_fmod(phi - start, table.period);
  if (turned < 0) turned += table.period;
  Cell in_r, in_z, in_phi;
  in_phi.move(table.phi, table.phi_count, start + turned);
  const int64_t line = table.phi_count, row = table.z_count * line;
  const auto around = [&](const double* at) { return at[0] + in_phi.place * (at[1] - at[0]); };
  for (int i = 0; i < size; ++i) {
    const double r = r_in[i], z = table.mirrored ? __builtin_fabs(z_in[i]) : z_in[i];
    in_r.move(table.r, table.r_count, r);
    in_z.move(table.z, table.z_count, z);
    const double* corner = table.values + in_r.number * row + in_z.number * line + in_phi.number;
    const double low = around(corner) + in_z.place * (around(corner + line) - around(corner));
    const double high = around(corner + row) + in_z.place * (around(corner + row + line) - around(corner + row));
    const bool inside =
        r >= table.r[0] && r <= table.r[table.r_count - 1] && z >= table.z[0] && z <= table.z[table.z_count - 1];
    field[i] = inside ? low + in_r.place * (high - low) : 0;
  }
}

inline void field_at(const ToroidInputs& in, const double* r, const double* z, double phi, int size, double* field) {
  if (in.table.values == nullptr) box_field(in.box, r, z, size, field);
  else table_field(in.table, r, z, phi, size, field);
}

}  // namespace
}  // namespace hitpool::cpu::toroid
