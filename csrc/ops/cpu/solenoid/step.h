// One step of the fit in a solenoid: least squares with correlated errors, and each hit against all others.
#pragma once
#include "ops/cpu/solenoid/covariance.h"
#include "ops/cpu/solenoid/kinks.h"
#include "ops/cpu/solenoid/normal_equations.h"

namespace hitpool::cpu::solenoid {
namespace {

constexpr double kForeignDensity = 1e4;  // 1/m^2, of hits that are not the track's
constexpr double kForeignShare = 1e-2;   // of the hits that the assignment is certain of
constexpr double kLeastWeight = 1e-9;    // so that a hit without weight can be compared with the others

class Step {
 public:
  static constexpr int kColumns = 19 + Covariance::kColumns + Kinks::kColumns;
  double change[kParameters];                   // of the helix
  double covariance[kParameters][kParameters];  // of its parameters
  double chi2;                                  // of the fit

  // Memory for four matrices of rows x rows and 16 rows.
  Step(Columns& columns, double* memory, int64_t rows)
      : kinks_(columns, memory), factors_(columns, memory + rows * rows), known_(memory + 4 * rows * rows + 8 * rows) {
    for (double*& column : scale_) column = columns.take();
    for (auto& of_axis : apart_) {
      for (double*& column : of_axis) column = columns.take();
    }
    for (double** column : {&first_, &mixed_, &second_, &gain_, &weight_}) *column = columns.take();
  }

  // With measurement errors widened by `width` and priors with spreads `prior`, `centre` from the helix. The weights of
  // the hits are their posteriors, which become those of the result.
  void run(
      const SolenoidInputs& in, const Helix& helix, Hits& hits, const Crossings& crossings, double width,
      const double (&prior)[kParameters], const double (&centre)[kParameters]) {
    set_scale(hits, width);
    kinks_.set(in, helix, hits, crossings, scale_);
    factors_.factor(kinks_.matrix(), hits.count, hits.size);
    set_known(hits, crossings);
    factors_.solve(known_, hits.count);
    solve_parameters(hits, prior, centre);
    set_apart(hits);
    compare(hits, width);
  }

  // Sum of the weights.
  double num_hits(const Hits& hits) const { return total(weight_, hits.count); }

  // Of all hits, each after the fit of the others, against all foreign.
  double log_likelihood(const Hits& hits) const {
    double sum = 0;
    for (int i = 0; i < hits.count; ++i) sum += hits.p[i] > 0 ? __builtin_log(gain_[i]) : 0;
    return sum;
  }

 private:
  void set_scale(const Hits& hits, double width) {
    const int size = hits.size, count = hits.count;
#pragma omp simd
    for (int i = 0; i < size; ++i) {
      weight_[i] = hits.posterior[i];
      const double weight = i < count ? larger(hits.posterior[i], kLeastWeight) : 0;
      scale_[0][i] = __builtin_sqrt(weight / (hits.variance[0][i] + square(width)));
      scale_[1][i] = __builtin_sqrt(weight / (hits.variance[1][i] + square(width)));
    }
  }

  // Derivatives and residuals, in units of the errors.
  void set_known(const Hits& hits, const Crossings& crossings) {
    for (int i = 0; i < hits.count; ++i) {
      for (int k = 0; k < 2; ++k) {
        double* row = known_ + int64_t{kSeen} * (row_of(i) + kSecond * k);
        for (int j = 0; j < kParameters; ++j) row[j] = crossings.derivative[k][j][i] * scale_[k][i];
        row[5] = crossings.residual[k][i] * scale_[k][i];
        row[6] = row[7] = 0;
      }
    }
  }

  void solve_parameters(const Hits& hits, const double (&prior)[kParameters], const double (&centre)[kParameters]) {
    Eight sums[kParameters]{};
    for (int i = 0; i < hits.count; ++i) {
      const double *first = factors_.seen(i), *second = first + factors_.stride();
      const Block block = factors_.inverse(i);
      const Eight one = load<Eight>(first), other = load<Eight>(second);
      const Eight to_one = block.first * one + block.mixed * other, to_other = block.mixed * one + block.second * other;
      for (int j = 0; j < kParameters; ++j) sums[j] += first[j] * to_one + second[j] * to_other;
    }
    double vector[kParameters];
    for (int j = 0; j < kParameters; ++j) {
      for (int k = 0; k < kParameters; ++k) covariance[j][k] = sums[j][k];
      covariance[j][j] += 1 / square(prior[j]);
      vector[j] = sums[j][5] + centre[j] / square(prior[j]);
    }
    invert(covariance);
    for (int j = 0; j < kParameters; ++j) {
      change[j] = 0;
      for (int k = 0; k < kParameters; ++k) change[j] += covariance[j][k] * vector[k];
    }
    chi2 = 0;
    for (int i = 0; i < hits.count; ++i) {
      const double *first = factors_.seen(i), *second = first + factors_.stride();
      const Block block = factors_.inverse(i);
      double one = first[5], other = second[5];
      for (int j = 0; j < kParameters; ++j) {
        one -= first[j] * change[j];
        other -= second[j] * change[j];
      }
      chi2 += block.first * one * one + 2 * block.mixed * one * other + block.second * other * other;
    }
  }

  // The diagonal blocks of A^-1, and A^-1 applied to derivatives and residuals.
  void set_apart(const Hits& hits) {
    for (int tile = 0; tile < hits.size; tile += 4) {
      Four first{}, mixed{}, second{};
      Four apart[2][6]{};
      for (int i = tile; i < hits.count; ++i) {
        const double *line = factors_.line(i) + 2 * tile, *below = line + factors_.stride();
        const Four one[2] = {load<Four>(line), load<Four>(line + kSecond)};
        const Four other[2] = {load<Four>(below), load<Four>(below + kSecond)};
        const Block block = factors_.inverse(i);
        Four to_one[2], to_other[2];
        for (int k = 0; k < 2; ++k) {
          to_one[k] = block.first * one[k] + block.mixed * other[k];
          to_other[k] = block.mixed * one[k] + block.second * other[k];
        }
        first += one[0] * to_one[0] + other[0] * to_other[0];
        mixed += one[0] * to_one[1] + other[0] * to_other[1];
        second += one[1] * to_one[1] + other[1] * to_other[1];
        const double *seen = factors_.seen(i), *seen_below = seen + factors_.stride();
        for (int j = 0; j < 6; ++j) {
          for (int k = 0; k < 2; ++k) apart[k][j] += seen[j] * to_one[k] + seen_below[j] * to_other[k];
        }
      }
      store(first_ + tile, first);
      store(mixed_ + tile, mixed);
      store(second_ + tile, second);
      for (int k = 0; k < 2; ++k) {
        for (int j = 0; j < 6; ++j) store(apart_[k][j] + tile, apart[k][j]);
      }
    }
  }

  // With Q = A^-1 - A^-1 H C H^T A^-1, H the derivatives, C the covariance of the result and y the residuals, the fit
  // of all other hits misses hit i by Q_ii^-1 (Q y)_i, with covariance Q_ii^-1, in units of the errors.
  void compare(Hits& hits, double width) {
    const int size = hits.size;
#pragma omp simd
    for (int i = 0; i < size; ++i) {
      double missed[2] = {apart_[0][5][i], apart_[1][5][i]};
      double first = first_[i], mixed = mixed_[i], second = second_[i];
      double of_first[kParameters], of_second[kParameters];
#pragma GCC unroll 5
      for (int j = 0; j < kParameters; ++j) {
        of_first[j] = apart_[0][j][i];
        of_second[j] = apart_[1][j][i];
        missed[0] -= of_first[j] * change[j];
        missed[1] -= of_second[j] * change[j];
      }
#pragma GCC unroll 5
      for (int j = 0; j < kParameters; ++j) {
        double known_first = 0, known_second = 0;
#pragma GCC unroll 5
        for (int k = 0; k < kParameters; ++k) {
          known_first += covariance[j][k] * of_first[k];
          known_second += covariance[j][k] * of_second[k];
        }
        first -= of_first[j] * known_first;
        mixed -= of_first[j] * known_second;
        second -= of_second[j] * known_second;
      }
      const double inside = 1 / larger(first * second - square(mixed), 1e-30);
      const double over[2] = {1 / scale_[0][i], 1 / scale_[1][i]};
      const double miss = (second * missed[0] - mixed * missed[1]) * inside * over[0];
      const double miss_second = (first * missed[1] - mixed * missed[0]) * inside * over[1];
      const double variance = (second * inside - 1) * square(over[0]) + hits.variance[0][i] + square(width);
      const double covariance = -mixed * inside * over[0] * over[1];
      const double variance_second = (first * inside - 1) * square(over[1]) + hits.variance[1][i] + square(width);
      const double determinant = larger(variance * variance_second - square(covariance), 1e-30);
      const double far =
          (variance_second * square(miss) - 2 * covariance * miss * miss_second + variance * square(miss_second)) /
          determinant;
      const double density = 1 / (2 * kPi * __builtin_sqrt(determinant));
      const double p = hits.p[i], foreign = (1 - p + kForeignShare) * kForeignDensity;
      const double own = p * (exponential(-larger(far, 0) / 2) * density);
      gain_[i] = (own + foreign) / foreign;
      hits.posterior[i] = own / (own + foreign);
    }
    for (int i = hits.count; i < size; ++i) hits.posterior[i] = 0;
  }

  Kinks kinks_;
  Covariance factors_;
  double* known_;     // [rows, 8]
  double* scale_[2];  // square root of weight / variance
  double* apart_[2][6];
  double *first_, *mixed_, *second_;  // diagonal blocks of A^-1
  double* gain_;                      // likelihood of a hit against that of a foreign one
  double* weight_;
};

}  // namespace
}  // namespace hitpool::cpu::solenoid
