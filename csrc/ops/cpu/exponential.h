// e^x, 2^x and the sigmoid for vectors.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ops/cpu/vector.h"

namespace hitpool::cpu {
namespace {

template <class T>
struct Exponent {
  using Int = typename Vector<T>::Int;
  static constexpr int mantissa = std::numeric_limits<T>::digits - 1;
  static constexpr Int bias = std::numeric_limits<T>::max_exponent - 1;
  static constexpr T integer = std::is_same_v<T, float> ? 0x1.8p23 : 0x1.8p52;  // + n has the integer n in its low bits
};

// x 2^n, where `shifted` is n + integer.
template <class T>
Vec<T> times_power_of_2(Vec<T> x, Vec<T> shifted) {
  using E = Exponent<T>;
  const IndexVec<T> n = std::bit_cast<IndexVec<T>>(shifted) - std::bit_cast<typename E::Int>(E::integer);
  return x * std::bit_cast<Vec<T>>((n + E::bias) << E::mantissa);
}

// e^x within 2 units in the last place; beyond the range of the type +inf and 0; NaN stays.
template <class T>
Vec<T> exponential(Vec<T> x) {
  constexpr bool single = std::is_same_v<T, float>;
  constexpr T integer = Exponent<T>::integer;
  constexpr T log2e = 1.4426950408889634;
  constexpr T ln2_high = single ? 0.693359375 : 6.93147180369123816490e-01;  // few bits: k * ln2_high is exact
  constexpr T ln2_low = single ? -2.12194440e-4 : 1.90821492927058770002e-10;
  constexpr T high = single ? 89 : 710;  // 2^k below is +inf from here on
  constexpr T low = single ? -88 : -708;
  constexpr int degree = single ? 7 : 13;  // Taylor remainder for |r| <= ln2 / 2: 5e-9, 4e-18

  x = minimum<T>(broadcast<T>(high), x);  // NaN as the second operand stays
  x = maximum<T>(broadcast<T>(low), x);
  const Vec<T> shifted = multiply_add<T>(x, broadcast<T>(log2e), broadcast<T>(integer));
  const Vec<T> k = shifted - integer;
  const Vec<T> r = multiply_add<T>(k, broadcast<T>(-ln2_low), multiply_add<T>(k, broadcast<T>(-ln2_high), x));
  Vec<T> series = broadcast<T>(1);
  for (int n = degree; n >= 1; --n) series = multiply_add<T>(series, r * (T{1} / n), broadcast<T>(1));
  return times_power_of_2<T>(series, shifted);
}

// Terms of the series of 2^r = exp(r ln2).
template <class T, int degree>
constexpr auto kTerms = [] {
  std::array<T, degree + 1> terms{};
  double term = 1;
  for (int n = 0; n <= degree; term *= 0.6931471805599453 / ++n) terms[n] = static_cast<T>(term);
  return terms;
}();

// 2^x for x <= 0 within 2 units in the last place; 0 below the smallest normal number; NaN stays.
template <class T>
Vec<T> exp2(Vec<T> x) {
  constexpr T integer = Exponent<T>::integer;
  constexpr T low = std::numeric_limits<T>::min_exponent;
  constexpr int degree = std::is_same_v<T, float> ? 6 : 12;  // remainder of the series for |r| <= 1/2: 1e-7, 5e-17
  const Vec<T> shifted = x + integer;
  const Vec<T> r = x - (shifted - integer);
  Vec<T> series = broadcast<T>(kTerms<T, degree>[degree]);
  for (int n = degree - 1; n >= 0; --n) series = multiply_add<T>(series, r, broadcast<T>(kTerms<T, degree>[n]));
  return x < low ? Vec<T>{} : times_power_of_2<T>(series, shifted);
}

template <class T>
Vec<T> sigmoid(Vec<T> x) {
  return 1 / (1 + exponential<T>(-x));
}

}  // namespace
}  // namespace hitpool::cpu
