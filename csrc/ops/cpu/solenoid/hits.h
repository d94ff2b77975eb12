// The hits of one track: points in the planes of their modules.
#pragma once
#include <algorithm>

#include "ops/cpu/solenoid/lanes.h"
#include "ops/cpu/solenoid_fit_kernel.h"

namespace hitpool::cpu::solenoid {
namespace {

// One column per quantity. Behind the `count` hits there is padding up to `size`: hits of probability 0.
struct Hits {
  static constexpr int kColumns = 18;
  int count = 0, size = 0;
  double* p;          // assignment probability
  double* posterior;  // probability after the fit
  double* point[3];   // x, y, z
  double* radius;     // of the point
  double* axis[2][3];
  double* normal[3];  // first axis x second axis
  double* variance[2];
  int32_t* number;  // among the M hits

  Hits(Columns& columns, int32_t* numbers, int32_t* order) : number(numbers), order_(order) {
    for (double*& column : all_) column = columns.take();
    temporary_ = columns.take();
    double** next = all_;
    p = *next++;
    posterior = *next++;
    for (double*& column : point) column = *next++;
    radius = *next++;
    for (auto& vector : axis) {
      for (double*& column : vector) column = *next++;
    }
    for (double*& column : normal) column = *next++;
    for (double*& column : variance) column = *next++;
  }

  // Sets hit i from its fields.
  void set(int i, double probability, const double* field) {
    p[i] = posterior[i] = probability;
    for (int k = 0; k < 3; ++k) {
      point[k][i] = field[k];
      axis[0][k][i] = field[3 + k];
      axis[1][k][i] = field[6 + k];
    }
    const double *a = field + 3, *b = field + 6;
    normal[0][i] = a[1] * b[2] - a[2] * b[1];
    normal[1][i] = a[2] * b[0] - a[0] * b[2];
    normal[2][i] = a[0] * b[1] - a[1] * b[0];
    for (int k = 0; k < 2; ++k) variance[k][i] = larger(field[9 + k], 1e-12);
    radius[i] = __builtin_sqrt(square(field[0]) + square(field[1]));
  }

  // Brings the hits into the order of `key`, which is sorted too. Hits are mostly in order already.
  void sort(double* key) {
    bool sorted = true;
    for (int i = 1; i < count; ++i) sorted &= !(key[i] < key[i - 1]);
    if (sorted) return;
    for (int i = 0; i < count; ++i) {
      int place = i;
      for (; place > 0 && key[i] < key[order_[place - 1]]; --place) order_[place] = order_[place - 1];
      order_[place] = i;
    }
    for (double* column : all_) permute(column);
    permute(key);
    int32_t* moved = order_ + size;
    for (int i = 0; i < count; ++i) moved[i] = number[order_[i]];
    for (int i = 0; i < count; ++i) number[i] = moved[i];
  }

 private:
  void permute(double* column) {
    for (int i = 0; i < count; ++i) temporary_[i] = column[order_[i]];
    for (int i = 0; i < count; ++i) column[i] = temporary_[i];
  }

  double* all_[kColumns - 1];
  double* temporary_;
  int32_t* order_;  // [2 size]
};

// Numbers of the valid hits with probability >= threshold, those with the largest ones if there are more than max_hits.
inline int select(const SolenoidInputs& in, int64_t track, int32_t* list) {
  const double* logits = in.logits + track * in.hits;
  const bool* valid = in.valid == nullptr ? nullptr : in.valid + track / in.tracks * in.hits;
  // What is below is not selected; what is above must be looked at.
  const double least = smaller(__builtin_log(in.threshold) - __builtin_log1p(-in.threshold), 30) - 1e-3;
  int64_t count = 0;
  for (int64_t m = 0; m < in.hits; ++m) {
    if (!(logits[m] >= least) || !(logits[m] > -kInfinity)) continue;
    const bool selected = 1 / (1 + exponential(-logits[m])) >= in.threshold && (valid == nullptr || valid[m]);
    if (selected) list[count++] = static_cast<int32_t>(m);
  }
  if (count <= in.max_hits) return static_cast<int>(count);
  std::partial_sort(list, list + in.max_hits, list + count, [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  });
  return static_cast<int>(in.max_hits);
}

inline void gather(const SolenoidInputs& in, int64_t track, Hits& hits) {
  constexpr double no_hit[kSolenoidFields] = {0.5, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1};
  const double* logits = in.logits + track * in.hits;
  const double* fields = in.fields + track / in.tracks * in.hits * kSolenoidFields;
  hits.count = select(in, track, hits.number);
  hits.size =
      hits.count < kSolenoidTile ? kSolenoidTile : (hits.count + kSolenoidTile - 1) / kSolenoidTile * kSolenoidTile;
  for (int i = 0; i < hits.size; ++i) {
    if (i < hits.count) {
      const int64_t m = hits.number[i];
      hits.set(i, 1 / (1 + exponential(-logits[m])), fields + m * kSolenoidFields);
    } else {
      hits.set(i, 0, no_hit);
    }
  }
}

}  // namespace
}  // namespace hitpool::cpu::solenoid
