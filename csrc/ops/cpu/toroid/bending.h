// Bending in the field along a nearly straight path, integrated twice.
#pragma once
#include "ops/cpu/toroid/matter.h"

namespace hitpool::cpu::toroid {
namespace {

constexpr double kStart = 4.0, kStep = 0.2;  // grid along the path in m: from 4 to 26
constexpr int kPoints = 111;
constexpr int kPadded = 112;  // with one point more, loops fill vectors

// Displacement K and its slope K' for q / p = 1 / GeV at the points of the grid: K'' = 0.2998 B (1 + v'^2)^(3/2), with
// K = K' = 0 at the beginning and B linear between the points.
struct Bending {
  double value[kPadded] = {}, slope[kPadded] = {}, rate[kPadded] = {};

  static double point(int i) { return kStart + kStep * i; }

  void integrate(const double* field, const double* path_slope) {
#pragma omp simd
    for (int i = 0; i < kPadded; ++i) {
      const double stretch = 1 + square(path_slope[i]);
      rate[i] = kGevPerTeslaMetre * field[i] * stretch * __builtin_sqrt(stretch);
    }
    value[0] = slope[0] = 0;
    for (int i = 0; i + 1 < kPoints; ++i) {
      slope[i + 1] = slope[i] + (rate[i] + rate[i + 1]) * (kStep / 2);
      value[i + 1] = value[i] + (slope[i] * kStep + (2 * rate[i] + rate[i + 1]) * (square(kStep) / 6));
    }
  }

  // K and K' at the places u.
  void at(const double* u, int size, double* value_at, double* slope_at) const {
    for (int i = 0; i < size; ++i) {
      const double place = (u[i] - kStart) / kStep;
      const int cell = place > 0 ? place < kPoints - 2 ? static_cast<int>(place) : kPoints - 2 : 0;  // NaN: 0
      const double step = u[i] - kStart - kStep * cell;
      const double change = (rate[cell + 1] - rate[cell]) / kStep;
      value_at[i] = value[cell] + step * (slope[cell] + step * (rate[cell] / 2 + step * change / 6));
      slope_at[i] = slope[cell] + step * (rate[cell] + step * change / 2);
    }
  }
};

}  // namespace
}  // namespace hitpool::cpu::toroid
