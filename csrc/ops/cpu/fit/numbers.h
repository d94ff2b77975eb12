// Arithmetic of the track fits: what the compiler can turn into vector code.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <bit>
#include <cstdint>

namespace hitpool::cpu::fit {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kInfinity = __builtin_inf();

inline double square(double x) { return x * x; }
inline double smaller(double a, double b) { return b < a ? b : a; }
inline double larger(double a, double b) { return b > a ? b : a; }
inline double within(double x, double low, double high) { return x < low ? low : x > high ? high : x; }  // NaN stays

// Angle in (-pi, pi].
inline double wrapped(double angle) {
  double turned = __builtin_fmod(kPi - angle, 2 * kPi);
  if (turned < 0) turned += 2 * kPi;
  return kPi - turned;
}

// e^x within 2 units in the last place: 2^n e^r with n an integer and |r| <= ln2 / 2; the remainder of the series is
// 4e-18. 0 below -708, infinity above 709, without branches.
[[gnu::always_inline]] inline double exponential(double x) {
  constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
  constexpr double integer = 0x1.8p52;  // adding it leaves an integer in the low bits
  const double shifted = x * 1.44269504088896340736 + integer;
  const double n = shifted - integer;
  const double r = (x - n * ln2_high) - n * ln2_low;
  double series = 1 / 6227020800.;
  series = series * r + 1 / 479001600.;
  series = series * r + 1 / 39916800.;
  series = series * r + 1 / 3628800.;
  series = series * r + 1 / 362880.;
  series = series * r + 1 / 40320.;
  series = series * r + 1 / 5040.;
  series = series * r + 1 / 720.;
  series = series * r + 1 / 120.;
  series = series * r + 1 / 24.;
  series = series * r + 1 / 6.;
  series = series * r + 1 / 2.;
  series = series * r + 1;
  series = series * r + 1;
  const int64_t exponent = std::bit_cast<int64_t>(shifted) - std::bit_cast<int64_t>(integer) + 1023;
  const double value = series * std::bit_cast<double>(static_cast<uint64_t>(exponent) << 52);
  return x < -708 ? 0 : x > 709 ? kInfinity : value;
}

inline double dot(const double* a, const double* b, int size) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

inline double total(const double* a, int size) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < size; ++i) sum += a[i];
  return sum;
}

// Hands out columns of one number per hit.
class Columns {
 public:
  Columns(double* memory, int64_t stride) : next_(memory), stride_(stride) {}
  double* take() {
    double* column = next_;
    next_ += stride_;
    return column;
  }

 private:
  double* next_;
  int64_t stride_;
};

}  // namespace
}  // namespace hitpool::cpu::fit
