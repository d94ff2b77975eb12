// Weighted least squares with priors: a sum of P functions, of which the matrix is scaled to a unit diagonal and
// decomposed by Cholesky.
#pragma once
#include "ops/cpu/fit/numbers.h"

namespace hitpool::cpu::fit {
namespace {

constexpr double kRounding = 1e-15;  // a pivot below this is rounding

template <int P>
struct Solution {
  double values[P];
  double scale[P];      // of the parameters: 1 / sqrt(diagonal)
  double factor[P][P];  // lower triangle L of the scaled matrix L L^T

  // Row `row` of L^-1 S g, given the rows above, where S is the scale. |L^-1 S g|^2 = g^T C g with the covariance C.
  double forward(const double (&above)[P], int row, double value) const {
    double rest = scale[row] * value;
    for (int k = 0; k < row; ++k) rest -= factor[row][k] * above[k];
    return rest / factor[row][row];
  }

  // C[parameter][parameter]
  double variance(int parameter) const {
    double sum = 0, solved[P];
    for (int row = 0; row < P; ++row) {
      solved[row] = forward(solved, row, row == parameter ? 1 : 0);
      sum += square(solved[row]);
    }
    return sum;
  }
};

// Minimum of sum weight (measured - sum_j a_j functions_j)^2 + sum_j (a_j / prior_j)^2; `weighted` is memory.
template <int P>
Solution<P> least_squares(
    const double* const (&functions)[P], const double* measured, const double* weight, const double (&prior)[P],
    double* weighted, int size) {
  Solution<P> s;
  double matrix[P][P], right[P];
  for (int j = 0; j < P; ++j) {
#pragma omp simd
    for (int i = 0; i < size; ++i) weighted[i] = weight[i] * functions[j][i];
    for (int k = 0; k <= j; ++k) matrix[j][k] = dot(weighted, functions[k], size);
    right[j] = dot(weighted, measured, size);
    matrix[j][j] += 1 / square(prior[j]);
    s.scale[j] = 1 / __builtin_sqrt(matrix[j][j]);
  }
  for (int j = 0; j < P; ++j) {
    for (int k = 0; k <= j; ++k) {
      double rest = matrix[j][k] * s.scale[j] * s.scale[k];
      for (int l = 0; l < k; ++l) rest -= s.factor[j][l] * s.factor[k][l];
      s.factor[j][k] = j == k ? __builtin_sqrt(larger(rest, kRounding)) : rest / s.factor[k][k];
    }
  }
  double solved[P];
  for (int j = 0; j < P; ++j) solved[j] = s.forward(solved, j, right[j]);
  for (int j = P - 1; j >= 0; --j) {
    double rest = solved[j];
    for (int k = j + 1; k < P; ++k) rest -= s.factor[k][j] * solved[k];
    solved[j] = rest / s.factor[j][j];
    s.values[j] = solved[j] * s.scale[j];
  }
  return s;
}

}  // namespace
}  // namespace hitpool::cpu::fit
