// The weight of a hit, for a vector of logits.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ops/cpu/vector.h"

namespace hitpool::cpu {
namespace {

// exp(x) within 2 units in the last place; beyond the range of the type +inf and 0; NaN stays.
template <class T>
Vec<T> exponential(Vec<T> x) {
  constexpr bool single = std::is_same_v<T, float>;
  using Int = typename Vector<T>::Int;
  constexpr int mantissa = std::numeric_limits<T>::digits - 1;
  constexpr Int bias = std::numeric_limits<T>::max_exponent - 1;
  constexpr T log2e = 1.4426950408889634;
  constexpr T ln2_high = single ? 0.693359375 : 6.93147180369123816490e-01;  // few bits: k * ln2_high is exact
  constexpr T ln2_low = single ? -2.12194440e-4 : 1.90821492927058770002e-10;
  constexpr T integer = single ? 0x1.8p23 : 0x1.8p52;  // adding it leaves an integer in the low bits
  constexpr T high = single ? 89 : 710;                // 2^k below is +inf from here on
  constexpr T low = single ? -88 : -708;
  constexpr int degree = single ? 7 : 13;  // Taylor remainder for |r| <= ln2 / 2: 5e-9, 4e-18

  x = minimum<T>(broadcast<T>(high), x);  // NaN as the second operand stays
  x = maximum<T>(broadcast<T>(low), x);
  const Vec<T> shifted = multiply_add<T>(x, broadcast<T>(log2e), broadcast<T>(integer));
  const Vec<T> k = shifted - integer;
  const Vec<T> r = multiply_add<T>(k, broadcast<T>(-ln2_low), multiply_add<T>(k, broadcast<T>(-ln2_high), x));
  Vec<T> series = broadcast<T>(1);
  for (int n = degree; n >= 1; --n) series = multiply_add<T>(series, r * (T{1} / n), broadcast<T>(1));
  const IndexVec<T> exponent = std::bit_cast<IndexVec<T>>(shifted) - std::bit_cast<Int>(integer) + bias;
  return series * std::bit_cast<Vec<T>>(exponent << mantissa);
}

template <class T>
Vec<T> sigmoid(Vec<T> x) {
  return 1 / (1 + exponential<T>(-x));
}

}  // namespace
}  // namespace hitpool::cpu
