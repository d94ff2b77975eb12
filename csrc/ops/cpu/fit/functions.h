// Functions of the C library without branches and errno, so that loops over hits become vector code; within 2 units in
// the last place. The polynomials are those of fdlibm.
#pragma once
#include "ops/cpu/fit/numbers.h"

namespace hitpool::cpu::fit {
namespace {

struct SinCos {
  double sin, cos;
};

// Of an angle up to 1e5 rad; of a larger one some numbers that are finite.
[[gnu::always_inline]] inline SinCos sin_cos(double angle) {
  constexpr double high = 1.57079632673412561417e+00, middle = 6.07710050630396597660e-11;  // pi / 2 in three parts
  constexpr double low = 2.02226624879595063154e-21;
  constexpr double integer = 0x1.8p52;  // adding it leaves an integer in the low bits
  const double shifted = angle * (2 / kPi) + integer;
  const double n = shifted - integer;
  const double r = within(((angle - n * high) - n * middle) - n * low, -0.8, 0.8), z = r * r;
  double sin = 1.58969099521155010221e-10;
  sin = sin * z - 2.50507602534068634195e-08;
  sin = sin * z + 2.75573137070700676789e-06;
  sin = sin * z - 1.98412698298579493134e-04;
  sin = sin * z + 8.33333333332248946124e-03;
  sin = sin * z - 1.66666666666666324348e-01;
  sin = r + r * z * sin;
  double cos = -1.13596475577881948265e-11;
  cos = cos * z + 2.08757232129817482790e-09;
  cos = cos * z - 2.75573143513906633035e-07;
  cos = cos * z + 2.48015872894767294178e-05;
  cos = cos * z - 1.38888888888741095749e-03;
  cos = cos * z + 4.16666666666666019037e-02;
  cos = 1 - (0.5 * z - z * z * cos);
  const int64_t quadrant = std::bit_cast<int64_t>(shifted);
  const double even_sin = (quadrant & 1) != 0 ? cos : sin, even_cos = (quadrant & 1) != 0 ? sin : cos;
  return {(quadrant & 2) != 0 ? -even_sin : even_sin, ((quadrant + 1) & 2) != 0 ? -even_cos : even_cos};
}

// Of a number in [-1, 1].
[[gnu::always_inline]] inline double arc_sine(double x) {
  const double size = __builtin_fabs(x);
  const double z = size < 0.5 ? x * x : (1 - size) / 2;
  double p = 3.47933107596021167570e-05;
  p = p * z + 7.91534994289814532176e-04;
  p = p * z - 4.00555345006794114027e-02;
  p = p * z + 2.01212532134862925881e-01;
  p = p * z - 3.25565818622400915405e-01;
  p = p * z + 1.66666666666666657415e-01;
  double q = 7.70381505559019352791e-02;
  q = q * z - 6.88283971605453293030e-01;
  q = q * z + 2.02094576023350569471e+00;
  q = q * z - 2.40339491173441421878e+00;
  q = q * z + 1;
  const double root = size < 0.5 ? size : __builtin_sqrt(z);
  const double part = root + root * (z * p / q);
  return __builtin_copysign(size < 0.5 ? part : kPi / 2 - 2 * part, x);
}

// Of a positive normal number; NaN stays.
[[gnu::always_inline]] inline double logarithm(double x) {
  constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
  constexpr int64_t root_half = 0x3fe6a09e667f3bcd;  // bits of sqrt(1/2), to which the mantissa is brought
  const int64_t bits = std::bit_cast<int64_t>(x), place = (bits - root_half) & ~((int64_t{1} << 52) - 1);
  const double f = std::bit_cast<double>(bits - place) - 1;
  // The exponent as a number: the integer in the low bits of 1.5 * 2^52.
  const int64_t biased = (place >> 52) + std::bit_cast<int64_t>(0x1.8p52);
  const double k = std::bit_cast<double>(biased) - 0x1.8p52;
  const double s = f / (2 + f), z = s * s;
  double series = 1.479819860511658591e-01;
  series = series * z + 1.531383769920937332e-01;
  series = series * z + 1.818357216161805012e-01;
  series = series * z + 2.222219843214978396e-01;
  series = series * z + 2.857142874366239149e-01;
  series = series * z + 3.999999999940941908e-01;
  series = series * z + 6.666666666666735130e-01;
  series *= z;
  const double half = 0.5 * f * f;
  const double value = k * ln2_high - ((half - (s * (half + series) + k * ln2_low)) - f);
  return x == x ? value : x;
}

}  // namespace
}  // namespace hitpool::cpu::fit
