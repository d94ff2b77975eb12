// Direction of a track in the transverse plane, from the coordinates along the wires.
#pragma once
#include "ops/cpu/fit/least_squares.h"
#include "ops/cpu/toroid/hits.h"
#include "ops/cpu/toroid/matter.h"

namespace hitpool::cpu::toroid {
namespace {

constexpr double kCauchy[] = {0.3, 0.1};  // m, widths of the robust weights in the second and third pass

// Straight line behind solenoid and calorimeter, and the azimuth at the vertex.
struct Line {
  double vertex;     // azimuth there
  double direction;  // azimuth of the line
  double offset;     // its distance from the beam line, positive to the left of its direction
};

class LineFit {
 public:
  static constexpr int kColumns = 7;
  explicit LineFit(Columns& columns) {
    for (double** column : {&x_, &y_, &first_, &second_, &measured_, &weight_, &weighted_}) *column = columns.take();
  }

  // Least squares of y + D (x - R / 2) = phi_0 x + k_1 (x - x_1)+ + k_2 (x - x_2)+, x along `azimuth`: D is the bend of
  // the solenoid, R the radius at which the track leaves it, k_1 and k_2 are the kinks of the scattering.
  // The first of the `passes` fits leaves out what lies far from the frame (`start`); those after it have robust
  // weights.
  Line run(
      const Hits& hits, const double* weight, double azimuth, double bend, double exit_radius, const Kinks& kinks,
      double kink_spread, int passes, bool start) {
    const double cos = __builtin_cos(azimuth), sin = __builtin_sin(azimuth);
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      const double x = cos * hits.x[i] + sin * hits.y[i], y = cos * hits.y[i] - sin * hits.x[i];
      const double exact = weight[i] / hits.second[i], robust = exact / (1 + square(y) / (9 * hits.second[i] + 0.09));
      x_[i] = x;
      y_[i] = y;
      first_[i] = x > kinks.first ? x - kinks.first : 0;
      second_[i] = x > kinks.second ? x - kinks.second : 0;
      measured_[i] = y + bend * (x - exit_radius / 2);
      const double close = x > 0 ? robust : 0;
      weight_[i] = start ? close : exact;
    }
    const double* const functions[3] = {x_, first_, second_};
    const double prior[3] = {1, kink_spread, kink_spread};
    auto line = least_squares(functions, measured_, weight_, prior, weighted_, hits.size);
    for (int pass = 1; pass < passes; ++pass) {
      const double a = line.values[0], b = line.values[1], c = line.values[2], width = square(kCauchy[pass - 1]);
#pragma omp simd
      for (int i = 0; i < hits.size; ++i) {
        const double residual = measured_[i] - (a * x_[i] + b * first_[i] + c * second_[i]);
        weight_[i] = weight[i] / hits.second[i] / (1 + square(residual) / (9 * hits.second[i] + width));
      }
      line = least_squares(functions, measured_, weight_, prior, weighted_, hits.size);
    }
    const auto& [phi, first, second] = line.values;
    const double turn = __builtin_atan(phi + first + second - bend);
    const double offset = bend * exit_radius / 2 - (first * kinks.first + second * kinks.second);
    return {azimuth + phi, azimuth + turn, offset * __builtin_cos(turn)};
  }

 private:
  double *x_, *y_, *first_, *second_, *measured_, *weight_, *weighted_;
};

}  // namespace
}  // namespace hitpool::cpu::toroid
