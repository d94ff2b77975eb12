// What a track meets before the spectrometer: solenoid, scattering and energy loss in the calorimeter.
#pragma once
#include "ops/cpu/toroid/numbers.h"
#include "ops/cpu/toroid_fit_kernel.h"

namespace hitpool::cpu::toroid {
namespace {

constexpr double kGevPerTeslaMetre = 0.299792458;

// q / p at the vertex from that behind the calorimeter.
inline double at_vertex(const ToroidGeometry& geometry, double kappa) {
  const double sign = (kappa > 0) - (kappa < 0);
  return sign / (1 / larger(__builtin_fabs(kappa), 1e-4) + geometry.energy_loss);
}

// Transverse places of the two kinks that stand for the scattering: the middle of the path in the calorimeter -+ its
// length / sqrt(12).
struct Kinks {
  double first, second;

  Kinks(const ToroidGeometry& geometry, double dip) {
    const double tan = larger(__builtin_fabs(__builtin_tan(dip)), 1e-6);
    const double start = smaller(geometry.calorimeter_in_length / tan, geometry.calorimeter_in_radius);
    const double end = smaller(geometry.calorimeter_out_length / tan, geometry.calorimeter_out_radius);
    const double middle = (start + end) / 2, half = (end - start) / __builtin_sqrt(12.0);
    first = middle - half;
    second = middle + half;
  }
};

// Spread of each kink: 13.6 MeV / p sqrt(X) (1 + 0.038 ln X) / sqrt(2), X the material in radiation lengths.
inline double scattering(const ToroidGeometry& geometry, double dip, double momentum) {
  const double cos = __builtin_cos(dip), sin = __builtin_fabs(__builtin_sin(dip));
  const double share = smaller(__builtin_asinh(sin / cos), 1.5) / 1.5;
  const double material = (geometry.central_material + geometry.forward_material * share) / larger(cos, sin);
  const double angle = 0.0136 / larger(momentum, 1) * __builtin_sqrt(material) * (1 + 0.038 * __builtin_log(material));
  return angle / __builtin_sqrt(2.0);
}

}  // namespace
}  // namespace hitpool::cpu::toroid
