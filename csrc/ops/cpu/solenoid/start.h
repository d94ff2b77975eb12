// Where the fit in a solenoid starts: a circle, and a line along it.
#pragma once
#include "ops/cpu/fit/functions.h"
#include "ops/cpu/fit/least_squares.h"
#include "ops/cpu/solenoid/hits.h"

namespace hitpool::cpu::solenoid {
namespace {

constexpr double kCircleSpread = 1e-4;           // of the hits around the circle
constexpr double kLineSpread = 1e-3;             // of the hits around the line, besides the error of the second axis
constexpr double kCirclePrior[] = {1e-2, 1, 1};  // spread of a [m], b and c [1/m]
constexpr double kLinePrior[] = {1, 10};         // spread of z0 and cot(theta)

constexpr int kParameters = 5;
struct Helix {
  double d0, z0, phi, cot, kappa;  // m, m, rad, 1, curvature in 1/m, positive: counterclockwise
};

// Transverse path along a circle through the beam line up to a radius.
[[gnu::always_inline]] inline double path_to(double radius, double kappa) {
  const double half = within(kappa * radius / 2, -0.9, 0.9);
  return half == 0 ? radius : radius * (arc_sine(half) / half);
}

class Start {
 public:
  static constexpr int kColumns = 7;
  explicit Start(Columns& columns) {
    for (double** column : {&one_, &u_, &v_, &square_, &path_, &weight_, &weighted_}) *column = columns.take();
  }

  // Least squares of v = a + b u + c (u^2 + v^2), u along the hits, and of z = z0 + s cot(theta) along the circle, with
  // the fourth powers of the probabilities as weights.
  Helix run(const Hits& hits) {
    double cos = 0, sin = 0;
    for (int i = 0; i < hits.count; ++i) {
      cos += square(square(hits.p[i])) * hits.point[0][i];
      sin += square(square(hits.p[i])) * hits.point[1][i];
    }
    if (cos == 0 && sin == 0) cos = 1;
    const double length = __builtin_sqrt(square(cos) + square(sin));
    cos /= length;
    sin /= length;
    const double *x = hits.point[0], *y = hits.point[1];
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      one_[i] = 1;
      u_[i] = cos * x[i] + sin * y[i];
      v_[i] = cos * y[i] - sin * x[i];
      square_[i] = square(x[i]) + square(y[i]);
      weight_[i] = square(square(hits.p[i])) / square(kCircleSpread);
    }
    const double* const of_circle[3] = {one_, u_, square_};
    const auto circle = least_squares(of_circle, v_, weight_, kCirclePrior, weighted_, hits.size);
    const auto [a, b, c] = circle.values;
    const double norm = __builtin_sqrt(larger(1 + square(b) - 4 * a * c, 1e-6)), kappa = 2 * c / norm;
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      path_[i] = path_to(__builtin_sqrt(larger(square_[i], 1e-12)), kappa);
      weight_[i] = square(square(hits.p[i])) / (hits.variance[1][i] + square(kLineSpread));
    }
    const double* const of_line[2] = {one_, path_};
    const auto line = least_squares(of_line, hits.point[2], weight_, kLinePrior, weighted_, hits.size);
    return {
        2 * a / (norm + __builtin_sqrt(1 + square(b))), line.values[0], __builtin_atan2(sin + b * cos, cos - b * sin),
        line.values[1], kappa};
  }

 private:
  double *one_, *u_, *v_, *square_, *path_, *weight_, *weighted_;
};

}  // namespace
}  // namespace hitpool::cpu::solenoid
