// Multiple scattering: kinks of the helix at its modules, and what they change behind them.
#pragma once
#include "ops/cpu/solenoid/crossings.h"

namespace hitpool::cpu::solenoid {
namespace {

constexpr double kGevPerTeslaMetre = 0.299792458;
constexpr double kMuonMass = 0.1056584;  // GeV

class Kinks {
 public:
  static constexpr int kColumns = 1;
  Kinks(Columns& columns, double* memory) : spread_(columns.take()), matrix_(memory) {}

  // What the kinks with their standard deviation change: columns of `rows` numbers, for each hit those of the kink
  // across the plane of track and beam line and of the kink within it.
  const double* matrix() const { return matrix_; }

  // A kink by the angle a across the plane of track and beam line turns the rest of the path by a / sin(theta) about
  // the module; one by b within the plane changes cot(theta) by -b / sin^2(theta) and, because the momentum stays, the
  // curvature by -kappa cot(theta) b. The changes are those of the coordinates times `scale`. Rows of tiles in front of
  // the module are not set.
  void set(
      const SolenoidInputs& in, const Helix& helix, const Hits& hits, const Crossings& crossings,
      double* const (&scale)[2]) {
    set_spread(in, helix, hits, crossings);
    const int rows = 2 * hits.size;
    const double squared = 1 + square(helix.cot), size = __builtin_sqrt(squared), turning = helix.kappa * helix.cot / 2;
    for (int j = 0; j < hits.count; ++j) {
      double *across = matrix_ + int64_t{2} * j * rows, *within = across + rows;
      const double x = crossings.x[j], y = crossings.y[j], path = crossings.path[j];
      const double of_across = size * spread_[j], of_slope = -squared * spread_[j], of_turn = -turning * spread_[j];
      for (int i = j / 4 * 4; i < hits.size; i += 4) {
        const Four zero{}, path_between = load<Four>(crossings.path + i) - path;
        const Four dx = load<Four>(crossings.x + i) - x, dy = load<Four>(crossings.y + i) - y;
        for (int k = 0; k < 2; ++k) {
          double* const* p = crossings.projection[k];
          const Four behind = path_between > 0 ? load<Four>(scale[k] + i) : zero;
          const Four turn = (load<Four>(p[1] + i) * dx - load<Four>(p[0] + i) * dy) * behind;
          const Four slope = load<Four>(p[2] + i) * behind;
          store(across + 2 * i + kSecond * k, of_across * turn);
          store(within + 2 * i + kSecond * k, (of_slope * slope + of_turn * turn) * path_between);
        }
      }
    }
  }

 private:
  // 13.6 MeV / (beta p) sqrt(X) (1 + 0.038 ln X) rad, with the weight of the hit.
  void set_spread(const SolenoidInputs& in, const Helix& helix, const Hits& hits, const Crossings& crossings) {
    const double bending = kGevPerTeslaMetre * __builtin_fabs(in.field);
    const double momentum = bending / larger(__builtin_fabs(helix.kappa), 1e-4) * __builtin_sqrt(1 + square(helix.cot));
    const double factor = 0.0136 / momentum * __builtin_sqrt(1 + square(kMuonMass / momentum));
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      const double thickness = in.radiation_lengths / crossings.incidence[i];
      const double weight = larger(hits.posterior[i], 1e-12);
      spread_[i] = factor * __builtin_sqrt(thickness * weight) * (1 + 0.038 * logarithm(thickness));
    }
  }

  double* spread_;
  double* matrix_;
};

}  // namespace
}  // namespace hitpool::cpu::solenoid
