// Helices through the planes of the modules: where they cross, and how their parameters move the crossing.
#pragma once
#include "ops/cpu/solenoid/start.h"

namespace hitpool::cpu::solenoid {
namespace {

constexpr int kNewtonSteps = 3;
constexpr double kLeastSlope = 0.1;  // cosine between normal and track, per unit of transverse path
constexpr double kLongest = 4;       // m of transverse path

class Crossings {
 public:
  static constexpr int kColumns = 22;
  double* path;  // transverse, from the point closest to the beam line
  double* x;     // where the helix crosses
  double* y;
  double* incidence;         // cosine between track and normal
  double* residual[2];       // measured - crossed
  double* projection[2][3];  // what a displacement of the helix changes in both coordinates
  double* derivative[2][5];  // what the parameters of the helix change in them

  explicit Crossings(Columns& columns) {
    for (double** column : {&path, &x, &y, &incidence}) *column = columns.take();
    for (double*& column : residual) column = columns.take();
    for (auto& of_axis : projection) {
      for (double*& column : of_axis) column = columns.take();
    }
    for (auto& of_axis : derivative) {
      for (double*& column : of_axis) column = columns.take();
    }
  }

  // Follows the helix to all planes and brings the hits into the order of their paths. With the transverse path s,
  //   x + i y = i d0 e^(i phi) + s sinc(kappa s / 2) e^(i (phi + kappa s / 2)),  z = z0 + s cot(theta).
  void set(const Helix& helix, Hits& hits) {
    const SinCos phi{__builtin_sin(helix.phi), __builtin_cos(helix.phi)};
    find_paths(helix, phi, hits);
    hits.sort(path);
    const double cot = helix.cot, kappa = helix.kappa;
    const double along = 1 / __builtin_sqrt(1 + square(cot));
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      const At at = follow(helix, phi, hits, path[i], i);
      x[i] = at.x;
      y[i] = at.y;
      incidence[i] = __builtin_fabs(at.slope) * along;
      const double off_x = hits.point[0][i] - at.x, off_y = hits.point[1][i] - at.y, off_z = hits.point[2][i] - at.z;
      const double shift = square(path[i]) / 2 * (1 - square(kappa * path[i]) / 36);  // by the curvature
      const SinCos third = sin_cos(kappa * path[i] * (2 / 3.));                       // the angle where it acts
      const double to_x = -shift * (phi.sin * third.cos + phi.cos * third.sin);
      const double to_y = shift * (phi.cos * third.cos - phi.sin * third.sin);
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        double* const* axis = hits.axis[k];
        const double over = (axis[0][i] * at.cos + axis[1][i] * at.sin + axis[2][i] * cot) / at.slope;
        const double px = axis[0][i] - over * hits.normal[0][i], py = axis[1][i] - over * hits.normal[1][i];
        const double pz = axis[2][i] - over * hits.normal[2][i];
        projection[k][0][i] = px;
        projection[k][1][i] = py;
        projection[k][2][i] = pz;
        residual[k][i] = px * off_x + py * off_y + pz * off_z;
        derivative[k][0][i] = py * phi.cos - px * phi.sin;
        derivative[k][1][i] = pz;
        derivative[k][2][i] = py * at.x - px * at.y;
        derivative[k][3][i] = pz * path[i];
        derivative[k][4][i] = px * to_x + py * to_y;
      }
    }
  }

 private:
  struct At {
    double x, y, z, cos, sin, slope;  // point, direction in the transverse plane, normal . tangent
  };

  // Where the helix is after a path, beside the plane of hit i.
  [[gnu::always_inline]] static At follow(const Helix& helix, SinCos phi, const Hits& hits, double path, int i) {
    const double half = helix.kappa * path / 2;
    const auto [sin, cos] = sin_cos(half);
    const double chord = half == 0 ? path : path * (sin / half);
    At at;
    at.x = chord * (phi.cos * cos - phi.sin * sin) - helix.d0 * phi.sin;
    at.y = chord * (phi.sin * cos + phi.cos * sin) + helix.d0 * phi.cos;
    at.z = helix.z0 + path * helix.cot;
    const double sin_all = 2 * sin * cos, cos_all = 1 - 2 * sin * sin;
    at.cos = phi.cos * cos_all - phi.sin * sin_all;
    at.sin = phi.sin * cos_all + phi.cos * sin_all;
    const double slope = hits.normal[0][i] * at.cos + hits.normal[1][i] * at.sin + hits.normal[2][i] * helix.cot;
    const double least = slope < 0 ? -kLeastSlope : kLeastSlope;
    at.slope = __builtin_fabs(slope) < kLeastSlope ? least : slope;
    return at;
  }

  // Newton's method, from where the helix has the distance of the hit from the beam line.
  void find_paths(const Helix& helix, SinCos phi, const Hits& hits) {
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      double s = path_to(hits.radius[i], helix.kappa);
#pragma GCC unroll 3
      for (int step = 0; step < kNewtonSteps; ++step) {
        const At at = follow(helix, phi, hits, s, i);
        const double off = hits.normal[0][i] * (at.x - hits.point[0][i]) +
                           hits.normal[1][i] * (at.y - hits.point[1][i]) +
                           hits.normal[2][i] * (at.z - hits.point[2][i]);
        s = within(s - off / at.slope, -kLongest, kLongest);
      }
      path[i] = s;
    }
  }
};

}  // namespace
}  // namespace hitpool::cpu::solenoid
