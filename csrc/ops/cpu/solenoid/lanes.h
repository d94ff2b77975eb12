// Four or eight numbers at once.
#pragma once
#include "ops/cpu/fit/numbers.h"

namespace hitpool::cpu::solenoid {
using namespace fit;
namespace {

typedef double Four __attribute__((vector_size(4 * sizeof(double))));

#ifdef __AVX512F__
typedef double Eight __attribute__((vector_size(8 * sizeof(double))));
#else
// Two registers: the compiler itself keeps a vector that is longer than its registers in memory.
struct Eight {
  Four low, high;

  [[gnu::always_inline]] Eight& operator+=(const Eight& other) {
    low += other.low;
    high += other.high;
    return *this;
  }
  [[gnu::always_inline]] Eight& operator-=(const Eight& other) {
    low -= other.low;
    high -= other.high;
    return *this;
  }
  [[gnu::always_inline]] double operator[](int lane) const { return lane < 4 ? low[lane] : high[lane - 4]; }
};

[[gnu::always_inline]] inline Eight operator*(double factor, const Eight& lanes) {
  return {factor * lanes.low, factor * lanes.high};
}
[[gnu::always_inline]] inline Eight operator+(Eight one, const Eight& other) { return one += other; }
[[gnu::always_inline]] inline Eight operator-(Eight one, const Eight& other) { return one -= other; }
#endif

// By pointers and not by memcpy, which the compiler does with smaller registers.
template <typename Lanes>
[[gnu::always_inline]] inline Lanes load(const double* from);
template <>
[[gnu::always_inline]] inline Four load(const double* from) {
  typedef double Memory __attribute__((vector_size(4 * sizeof(double)), aligned(8), may_alias));
  return *reinterpret_cast<const Memory*>(from);
}
[[gnu::always_inline]] inline void store(double* to, const Four& lanes) {
  typedef double Memory __attribute__((vector_size(4 * sizeof(double)), aligned(8), may_alias));
  *reinterpret_cast<Memory*>(to) = lanes;
}

#ifdef __AVX512F__
template <>
[[gnu::always_inline]] inline Eight load(const double* from) {
  typedef double Memory __attribute__((vector_size(8 * sizeof(double)), aligned(8), may_alias));
  return *reinterpret_cast<const Memory*>(from);
}
[[gnu::always_inline]] inline void store(double* to, const Eight& lanes) {
  typedef double Memory __attribute__((vector_size(8 * sizeof(double)), aligned(8), may_alias));
  *reinterpret_cast<Memory*>(to) = lanes;
}
#else
template <>
[[gnu::always_inline]] inline Eight load(const double* from) {
  return {load<Four>(from), load<Four>(from + 4)};
}
[[gnu::always_inline]] inline void store(double* to, const Eight& lanes) {
  store(to, lanes.low);
  store(to + 4, lanes.high);
}
#endif

// Both coordinates of the hits of a track are the rows of its matrices: eight for each tile of four hits, the first
// coordinates and then the second ones.
inline int row_of(int hit) { return 8 * (hit / 4) + hit % 4; }  // of the first; the second is four rows behind
constexpr int kSecond = 4;

}  // namespace
}  // namespace hitpool::cpu::solenoid
