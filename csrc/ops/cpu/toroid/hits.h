// The hits of one track as the fit sees them: tubes and strips, each with the direction across which it measures.
#pragma once
#include <algorithm>

#include "ops/cpu/toroid/numbers.h"
#include "ops/cpu/toroid_fit_kernel.h"

namespace hitpool::cpu::toroid {
namespace {

// One column per quantity. Behind the `count` hits there is padding up to `size`: tubes of probability 0, so that no
// loop has to ask.
struct Hits {
  static constexpr int kColumns = 12;
  int count = 0, size = 0;
  double* p;      // assignment probability
  double* sharp;  // its fourth power, the weight before there is a fit
  double* x;      // middle of the wire or strip
  double* y;
  double* z;
  double* normal_x;  // unit vector in the transverse plane across the wire: normal of the sector
  double* normal_y;
  double* distance;  // of the wire from the beam line along the normal
  double* radius;    // drift radius; 0 for strips
  double* error;     // spread of the drift radius or of the measured coordinate
  double* second;    // variance of the coordinate along the wire
  double* tube;      // 1 for drift tubes
  int32_t* number;   // among the M hits

  Hits(Columns& columns, int32_t* list) : number(list) {
    for (double** column : {&p, &sharp, &x, &y, &z, &normal_x, &normal_y, &distance, &radius, &error, &second, &tube}) {
      *column = columns.take();
    }
  }
};

// Numbers of the valid hits with probability >= threshold, most probable first, and no more than max_hits.
inline int select(const ToroidInputs& in, int64_t track, double* probability, int32_t* list) {
  const double* logits = in.logits + track * in.hits;
  const bool* valid = in.valid == nullptr ? nullptr : in.valid + track / in.tracks * in.hits;
#pragma omp simd
  for (int64_t m = 0; m < in.hits; ++m) probability[m] = 1 / (1 + exponential(-logits[m]));
  int64_t count = 0;
  for (int64_t m = 0; m < in.hits; ++m) {
    const bool selected = probability[m] >= in.threshold && logits[m] > -kInfinity && (valid == nullptr || valid[m]);
    if (selected) list[count++] = static_cast<int32_t>(m);
  }
  std::sort(list, list + count, [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  });
  return static_cast<int>(count < in.max_hits ? count : in.max_hits);
}

inline void set_hit(Hits& hits, int i, double p, const double* field) {
  const double along_x = field[0] - field[3], along_y = field[1] - field[4];
  const double x = (field[0] + field[3]) / 2, y = (field[1] + field[4]) / 2, z = (field[2] + field[5]) / 2;
  const double length = __builtin_hypot(along_x, along_y), unit = larger(length, 1e-9);
  const double distance = x * (along_y / unit) - y * (along_x / unit);
  const double outward = distance < 0 ? -1 : 1;  // whichever end of the wire is called high
  hits.p[i] = p;
  hits.sharp[i] = square(square(p));
  hits.x[i] = x;
  hits.y[i] = y;
  hits.z[i] = z;
  hits.normal_x[i] = length > 0 ? outward * along_y / length : 1;
  hits.normal_y[i] = length > 0 ? -outward * along_x / length : 0;
  hits.distance[i] = outward * distance;
  hits.tube[i] = field[9] > 0.5 ? 1 : 0;
  hits.radius[i] = field[9] > 0.5 ? field[6] : 0;
  hits.error[i] = __builtin_sqrt(within(field[7], 1e-12, kInfinity));
  hits.second[i] = within(field[8], 1e-6, kInfinity);
}

inline void gather(const ToroidInputs& in, int64_t track, double* probability, Hits& hits) {
  constexpr double no_hit[kToroidFields] = {5, 1, 0, 5, -1, 0, 0, 1, 1, 1};
  const double* fields = in.fields + track / in.tracks * in.hits * kToroidFields;
  hits.count = select(in, track, probability, hits.number);
  hits.size = hits.count < kToroidBlock ? kToroidBlock : (hits.count + kToroidBlock - 1) / kToroidBlock * kToroidBlock;
  for (int i = 0; i < hits.size; ++i) {
    const int64_t m = hits.number[i];
    if (i < hits.count) set_hit(hits, i, probability[m], fields + m * kToroidFields);
    else set_hit(hits, i, 0, no_hit);
  }
}

}  // namespace
}  // namespace hitpool::cpu::toroid
