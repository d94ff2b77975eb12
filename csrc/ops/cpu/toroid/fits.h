// The two kinds of fit in the bending plane: to wires, and to drift circles.
#pragma once
#include "ops/cpu/toroid/frame.h"

namespace hitpool::cpu::toroid {
namespace {

constexpr double kWireWidths[] = {0.1, 0.05};  // m, of the robust weights of one fit to the wires
constexpr double kWireError = 8.4e-3;          // m, spread of a track around the wire of a tube
constexpr double kDeltaElectrons = 0.05;       // share of drift radii that are not the track's
constexpr double kTubeWidth = 29.2e-3;         // m, in which radii that are not the track's lie

class Fits {
 public:
  static constexpr int kColumns = 15;
  double* residual;   // of wire or strip, along v
  double* posterior;  // probability of the hit after the fit
  double* distance;   // of wire or strip from the track

  explicit Fits(Columns& columns) {
    for (double** column :
         {&residual, &posterior, &distance, &likelihood_, &chi2_, &measured_, &weight_, &weighted_, &variance_}) {
      *column = columns.take();
    }
    for (double*& column : solved_) column = columns.take();
  }

  // Fit to wires and strips with robust weights from the residuals, which are set to those of the result.
  Parameters wires(const Hits& hits, const Frame& frame) {
    Parameters fit;
    for (const double width : kWireWidths) {
#pragma omp simd
      for (int i = 0; i < hits.size; ++i) {
        const double strip = 1 / (square(hits.error[i]) + 4e-6);
        const double own = hits.tube[i] > 0 ? 1 / square(kWireError) : strip;
        weight_[i] = hits.sharp[i] * own / (1 + square(residual[i] / width));
      }
      fit = solve(hits, frame, frame.v);
      frame.residual(hits, fit.values, residual);
    }
    return fit;
  }

  // Fit to drift circles, whose errors are widened by `width`. A circle of radius R at the distance r of the track of
  // the fit `before` has the likelihoods L+- = 0.475 N(r -+ R; V) of both sides, against foreign hits and delta
  // electrons spread over the tube:
  //   rho = (L+ + L-) / (p (L+ + L-) + (0.05 p + 1 - p) / w),  m = v - R (L+ - L-) / (L+ + L-),  weight p rho / V.
  Parameters drift(const Hits& hits, const Frame& frame, double dip, const Parameters& before, double width) {
    set_path_variance(frame, before, hits.size);
    const double cos = __builtin_cos(dip), sin = __builtin_sin(dip);
    const double height = 0.5 * (1 - kDeltaElectrons) / __builtin_sqrt(2 * kPi);
    const double most = width > 0 ? 1e-4 : 0;  // of the variance of the track, which does not count in the last fit
#pragma omp simd
    for (int i = 0; i < hits.size; ++i) {
      // A radius across the wire, seen along v: sqrt((cos^2 l + sin^2 l / tilt^2) (1 + v'^2)) with l = dip + atan(v').
      const double slope = frame.slope_at(before.values, i);
      const double seen = __builtin_sqrt(square(cos - slope * sin) + square((sin + slope * cos) / frame.tilt[i]));
      const double stretch = hits.tube[i] > 0 ? seen : 1;
      const double radius = hits.radius[i] * stretch, own = square(hits.error[i] * stretch);
      const double variance = own + square(width);
      const double total = variance + within(variance_[i], 0, most);
      const double beyond = square(residual[i] - radius), before_it = square(residual[i] + radius);
      const double right = height / __builtin_sqrt(total) * exponential(-0.5 * beyond / total);
      const double left = height / __builtin_sqrt(total) * exponential(-0.5 * before_it / total);
      const double p = hits.p[i];
      const double foreign = (p * kDeltaElectrons + 1 - p) / kTubeWidth;
      const double likelihood = p * (right + left) + foreign;
      const double side = (right - left) / larger(right + left, 1e-30);
      posterior[i] = p * ((right + left) / likelihood);
      distance[i] = __builtin_fabs(residual[i]) / stretch;
      likelihood_[i] = likelihood / foreign;
      chi2_[i] = posterior[i] * smaller(beyond, before_it) / own;
      measured_[i] = frame.v[i] - side * radius;
      weight_[i] = posterior[i] / variance;
    }
    return solve(hits, frame, measured_);
  }

  double chi2(const Hits& hits) const { return total(chi2_, hits.size); }

  // Against all hits foreign.
  double log_likelihood(const Hits& hits) const {
    double sum = 0;
    for (int i = 0; i < hits.count; ++i) sum += hits.p[i] > 0 ? __builtin_log(likelihood_[i]) : 0;
    return sum;
  }

 private:
  Parameters solve(const Hits& hits, const Frame& frame, const double* measured) {
    const double* functions[kParameters];
    for (int j = 0; j < kParameters; ++j) functions[j] = frame.function[j];
    return least_squares(functions, measured, weight_, frame.prior, weighted_, hits.size);
  }

  // How well the track is known at the hits: g^T C g with the functions g and the covariance C of the fit.
  void set_path_variance(const Frame& frame, const Parameters& fit, int size) {
    for (int i = 0; i < size; ++i) variance_[i] = 0;
    for (int row = 0; row < kParameters; ++row) {  // |L^-1 S g|^2, forward substitution for all hits at once
      double* solved = solved_[row];
      for (int i = 0; i < size; ++i) solved[i] = fit.scale[row] * frame.function[row][i];
      for (int k = 0; k < row; ++k) {
#pragma omp simd
        for (int i = 0; i < size; ++i) solved[i] -= fit.factor[row][k] * solved_[k][i];
      }
#pragma omp simd
      for (int i = 0; i < size; ++i) {
        solved[i] /= fit.factor[row][row];
        variance_[i] += square(solved[i]);
      }
    }
  }

  double *likelihood_, *chi2_, *measured_, *weight_, *weighted_, *variance_;
  double* solved_[kParameters];
};

}  // namespace
}  // namespace hitpool::cpu::toroid
