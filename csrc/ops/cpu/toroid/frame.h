// The plane of the track and the beam line, with u along and v across the track, and the six functions of which
// v is a sum,
//   v(u) = a_0 + a_1 u + kappa K(u) + k_1 (u - u_1)+ + k_2 (u - u_2)+ + c sin(lambda) t tan(delta):
// offset of the vertex, slope, curvature behind the calorimeter, two kinks, and the azimuth, which ties the sectors
// together (delta is the angle between track and sector, lambda the dip angle, t the transverse distance).
#pragma once
#include "ops/cpu/toroid/bending.h"
#include "ops/cpu/toroid/field.h"
#include "ops/cpu/toroid/hits.h"
#include "ops/cpu/toroid/line.h"

namespace hitpool::cpu::toroid {
namespace {

constexpr int kParameters = 6;
constexpr double kKappaSpread = 0.3;    // 1/GeV
constexpr double kColumnSpread = 3e-3;  // rad, of the azimuth

using Parameters = Solution<kParameters>;

struct Frame {
  static constexpr int kColumns = 10;
  double *u, *v;  // m
  double* tilt;   // cosine between the planes of track and sector
  double* slope;  // K'
  double* function[kParameters];
  double first_kink, second_kink;  // u_1 and u_2
  double prior[kParameters];
  Bending bending;

  explicit Frame(Columns& columns) {
    for (double** column : {&u, &v, &tilt, &slope}) *column = columns.take();
    for (double*& column : function) column = columns.take();
  }

  // `path`: the fit before, along whose path the field is integrated; null for a straight line.
  void set(
      const ToroidInputs& in, const Hits& hits, const Line& line, const Kinks& kinks, double dip, double momentum,
      const Parameters* path) {
    const double cos = __builtin_cos(dip), sin = __builtin_sin(dip);
    first_kink = kinks.first / cos;
    second_kink = kinks.second / cos;
    place_hits(hits, line, cos, sin);
    follow(in, line, cos, sin, path);
    bending.at(u, hits.size, function[2], slope);
    const double spread = scattering(in.geometry, dip, momentum);
    const double spreads[] = {in.geometry.vertex_spread * cos, 1, kKappaSpread, spread, spread, kColumnSpread};
    for (int j = 0; j < kParameters; ++j) prior[j] = spreads[j];
  }

  // v - v(u) of the fit.
  void residual(const Hits& hits, const double (&a)[kParameters], double* out) const {
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      out[i] = v[i] - (a[0] + a[1] * u[i] + a[2] * function[2][i] + a[3] * function[3][i] + a[4] * function[4][i] +
                       a[5] * function[5][i]);
    }
  }

  // v'(u) of the fit.
  double slope_at(const double (&a)[kParameters], int i) const {
    const double first = a[3], second = a[4];
    return a[1] + a[2] * slope[i] + (u[i] > first_kink ? first : 0) + (u[i] > second_kink ? second : 0);
  }

 private:
  void place_hits(const Hits& hits, const Line& line, double cos, double sin) {
    const double cos_line = __builtin_cos(line.direction), sin_line = __builtin_sin(line.direction);
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      const double cos_delta = cos_line * hits.normal_x[i] + sin_line * hits.normal_y[i];
      const double sin_delta = sin_line * hits.normal_x[i] - cos_line * hits.normal_y[i];
      tilt[i] = __builtin_fabs(cos_delta) < 1e-3 ? 1e-3 : cos_delta;
      const double t = (hits.distance[i] + line.offset * sin_delta) / tilt[i];
      u[i] = within(t * cos + hits.z[i] * sin, 0, 40);
      v[i] = within(hits.z[i] * cos - t * sin, -40, 40);
      function[0][i] = 1;
      function[1][i] = u[i];
      function[3][i] = u[i] > first_kink ? u[i] - first_kink : 0;
      function[4][i] = u[i] > second_kink ? u[i] - second_kink : 0;
      function[5][i] = within(sin * t * sin_delta / tilt[i], -5, 5);
    }
  }

  void follow(const ToroidInputs& in, const Line& line, double cos, double sin, const Parameters* path) {
    double r[kPadded], z[kPadded], path_slope[kPadded], field[kPadded];
    double a[kParameters] = {};
    for (int j = 0; path != nullptr && j < kParameters; ++j) a[j] = path->values[j];
    const double first_angle = a[3], second_angle = a[4];
#pragma omp simd
    for (int i = 0; i < kPadded; ++i) {
      const double point = Bending::point(i);
      const double first = point > first_kink ? first_angle : 0, second = point > second_kink ? second_angle : 0;
      const double across =
          a[0] + a[1] * point + a[2] * bending.value[i] + first * (point - first_kink) + second * (point - second_kink);
      path_slope[i] = a[1] + a[2] * bending.slope[i] + first + second;
      r[i] = point * cos - across * sin;
      z[i] = point * sin + across * cos;
    }
    field_at(in, r, z, line.direction, kPadded, field);
    bending.integrate(field, path_slope);
  }
};

}  // namespace
}  // namespace hitpool::cpu::toroid
