// Where the fit starts: azimuth, dip angle, and the best line through two hits.
#pragma once
#include <algorithm>

#include "ops/cpu/toroid/hits.h"

namespace hitpool::cpu::toroid {
namespace {

constexpr double kAzimuthSpread = 0.03;  // rad, of a bent and scattered track
constexpr double kRoad = 0.03;           // m, width of the road around a line through two hits
constexpr int kNeighbours = 6;           // hits at each end of the track of which pairs are tried

// Places 0 ... size - 1 in the order of `key`, NaN last.
inline void sort_by(const double* key, int32_t* order, int size) {
  for (int i = 0; i < size; ++i) order[i] = i;
  std::sort(order, order + size, [key](int32_t a, int32_t b) {
    const bool a_is_nan = key[a] != key[a], b_is_nan = key[b] != key[b];
    if (a_is_nan || b_is_nan) return a_is_nan == b_is_nan ? a < b : b_is_nan;
    return key[a] < key[b] || (key[a] == key[b] && a < b);
  });
}

// Azimuth of the hit that most others agree with. The score of hit k is
//   sum_m w_m / s_k exp(-(1 - cos(phi_m - phi_k)) / s_k^2),
// with s_k the error of its azimuth; hits without second coordinate count half.
inline double start_azimuth(const Hits& hits, double* unit_x, double* unit_y) {
#pragma omp simd
  for (int i = 0; i < hits.size; ++i) {
    const double length = larger(__builtin_sqrt(square(hits.x[i]) + square(hits.y[i])), 1e-12);
    unit_x[i] = hits.x[i] / length;
    unit_y[i] = hits.y[i] / length;
  }
  int best = 0;
  double highest = 0;
  for (int k = 0; k < hits.count; ++k) {
    const double squared = hits.second[k] / (square(hits.x[k]) + square(hits.y[k]) + 1e-9) + square(kAzimuthSpread);
    const double x = unit_x[k], y = unit_y[k];
    double score = 0;
#pragma omp simd reduction(+ : score)
    for (int m = 0; m < hits.size; ++m) {
      score += hits.sharp[m] * exponential((unit_x[m] * x + unit_y[m] * y - 1) / squared);
    }
    score *= (hits.second[k] < 0.3 ? 1.0 : 0.5) / __builtin_sqrt(squared);
    if (score > highest) {
      highest = score;
      best = k;
    }
  }
  return __builtin_atan2(hits.y[best], hits.x[best]);
}

// Weighted median of the dip angles of the hits, seen from the origin.
inline double start_dip(const Hits& hits, double* angle, int32_t* order) {
  for (int i = 0; i < hits.size; ++i) angle[i] = __builtin_atan2(hits.z[i], hits.distance[i]);
  sort_by(angle, order, hits.size);
  double all = 0, sum = 0;
  for (int i = 0; i < hits.size; ++i) all += hits.sharp[order[i]];
  for (int i = 0; i < hits.size; ++i) {
    sum += hits.sharp[order[i]];
    if (!(sum < 0.5 * all)) return angle[order[i]];
  }
  return angle[order[hits.size - 1]];
}

// Parameters of the line through two hits that most hits lie close to. Pairs are made of hits at 2 x 6 quantiles of u,
// one from each half. A pair moves the parameters from 0 as two exact measurements would,
//   a = C F^T (F C F^T)^-1 v,  F [2, P] the functions at both hits,
// with the prior covariance C; its score is sum p exp(-r^2 / 2 (30 mm)^2), less a part of the chi^2 to the prior.
template <int P>
void start_parameters(
    const Hits& hits, const double* u, const double* v, const double* const (&functions)[P], const double (&prior)[P],
    double* key, int32_t* order, double (&best)[P]) {
  for (int i = 0; i < hits.size; ++i) key[i] = hits.p[i] > 0 ? u[i] : kInfinity;
  sort_by(key, order, hits.size);
  double all = 0;
  for (int i = 0; i < hits.size; ++i) all += hits.p[order[i]];

  double phi[2 * kNeighbours][P], weighted[2 * kNeighbours][P], measured[2 * kNeighbours];  // of the chosen hits
  int place = 0;
  double sum = hits.p[order[0]];
  for (int s = 0; s < 2 * kNeighbours; ++s) {
    while (place < hits.size - 1 && sum < (s + 0.5) / (2 * kNeighbours) * all) sum += hits.p[order[++place]];
    const int hit = order[place];
    measured[s] = v[hit];
    for (int j = 0; j < P; ++j) {
      phi[s][j] = functions[j][hit];
      weighted[s][j] = phi[s][j] * square(prior[j]);
    }
  }
  const auto covariance = [&](int a, int b) {
    double value = a == b ? 1e-4 : 0;
    for (int j = 0; j < P; ++j) value += weighted[a][j] * phi[b][j];
    return value;
  };

  double highest = -kInfinity;
  for (int j = 0; j < P; ++j) best[j] = 0;
  for (int a = 0; a < kNeighbours; ++a) {
    for (int b = kNeighbours; b < 2 * kNeighbours; ++b) {
      const double first = covariance(a, a), last = covariance(b, b), both = covariance(a, b);
      const double determinant = first * last - square(both);
      const double pull_near = (last * measured[a] - both * measured[b]) / determinant;
      const double pull_far = (first * measured[b] - both * measured[a]) / determinant;
      double parameters[P], close = 0;
      for (int j = 0; j < P; ++j) parameters[j] = pull_near * weighted[a][j] + pull_far * weighted[b][j];
#pragma omp simd reduction(+ : close)
      for (int i = 0; i < hits.size; ++i) {
        double residual = v[i];
        for (int j = 0; j < P; ++j) residual -= parameters[j] * functions[j][i];
        close += hits.p[i] * exponential(-0.5 / square(kRoad) * square(residual));
      }
      const double score = close - 0.15 * (measured[a] * pull_near + measured[b] * pull_far);
      if (score > highest) {
        highest = score;
        for (int j = 0; j < P; ++j) best[j] = parameters[j];
      }
    }
  }
}

}  // namespace
}  // namespace hitpool::cpu::toroid
