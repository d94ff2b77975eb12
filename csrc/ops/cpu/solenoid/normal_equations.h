// The five parameters of the helix from sums over its hits.
#pragma once
#include "ops/cpu/solenoid/start.h"

namespace hitpool::cpu::solenoid {
namespace {

// (M + prior)^-1, M symmetric; scaled to a unit diagonal and decomposed by Cholesky.
inline void invert(double (&matrix)[kParameters][kParameters]) {
  constexpr int n = kParameters;
  double scale[n], over[n], lower[n][n], root[n][n];  // root: of L, lower triangle
  for (int j = 0; j < n; ++j) scale[j] = 1 / __builtin_sqrt(matrix[j][j]);
  for (int j = 0; j < n; ++j) {
    for (int i = j; i < n; ++i) {
      double rest = matrix[i][j] * scale[i] * scale[j];
      for (int k = 0; k < j; ++k) rest -= lower[i][k] * lower[j][k];
      if (i == j) over[j] = 1 / __builtin_sqrt(larger(rest, kRounding));
      lower[i][j] = rest * over[j];
    }
  }
  for (int j = 0; j < n; ++j) {
    root[j][j] = over[j];
    for (int i = j + 1; i < n; ++i) {
      double rest = 0;
      for (int k = j; k < i; ++k) rest -= lower[i][k] * root[k][j];
      root[i][j] = rest * over[i];
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = 0;
      for (int k = i; k < n; ++k) sum += root[k][i] * root[k][j];
      matrix[i][j] = matrix[j][i] = sum * scale[i] * scale[j];
    }
  }
}

}  // namespace
}  // namespace hitpool::cpu::solenoid
