// Arithmetic in double by short series without branches, which the compiler turns into vector code. Their relative
// error is below 1e-10, so that the result is the exact one rounded to float32, but for rare ties.
#include "ops/cpu/pseudorapidity_kernel.h"

#include <bit>
#include <limits>

namespace hitpool::cpu {
namespace {

constexpr double kPi = 3.14159265358979311600;
constexpr float kFloatPi = static_cast<float>(kPi);  // stands for pi, although it is above it
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// log(x) for finite x >= 1: x = 2^k m with m in [sqrt(1/2), sqrt(2)), log(m) = 2 atanh((m - 1) / (m + 1)).
inline double logarithm(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  constexpr uint64_t sqrt_half = 0x3fe6a09e667f3bcd;  // bits of sqrt(1/2)
  const uint64_t k_bits = (bits - sqrt_half) >> 52;
  const double m = std::bit_cast<double>(bits - (k_bits << 52));
  const double k = std::bit_cast<double>(k_bits | std::bit_cast<uint64_t>(0x1p52)) - 0x1p52;  // as a double
  const double s = (m - 1) / (m + 1), q = s * s;  // |s| <= 0.172
  const double series =
      1 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13))))));
  return k * 0.69314718055994530942 + 2 * s * series;
}

inline float eta_of(float theta) {
  const double angle = theta;
  const bool backward = angle > kPi / 2;
  // Away from pi / 2: y = polar / 2 in [0, pi / 4], tan(y) = y N / D (Pade approximant, error below 1e-11).
  const double y = (backward ? kPi - angle : angle) / 2, z = y * y;
  const double numerator = 10395 - z * (1260 - z * 21);
  const double denominator = 10395 - z * (4725 - z * (210 - z));
  const double ratio = y > 0 ? denominator / (y * numerator) : 1;
  const double far = backward ? -logarithm(ratio) : logarithm(ratio);
  // Near pi / 2: the inverse Gudermannian function of u = pi / 2 - theta, odd in u.
  const double u = (kPi / 2 - angle) + 6.123233995736766e-17, w = u * u;
  const double near = u * (1 + w * (1.0 / 6 + w * (1.0 / 24 + w * (61.0 / 5040 + w * (277.0 / 72576 +
                      w * (50521.0 / 39916800 + w * (41581.0 / 95800320)))))));
  double eta = w < 0.0625 ? near : far;
  eta = theta == 0 ? kInfinity : eta;
  eta = theta == kFloatPi ? -kInfinity : eta;
  return static_cast<float>(theta >= 0 && theta <= kFloatPi ? eta : kNaN);
}

// -1 / sin(theta)
inline double derivative_of(float theta) {
  const double angle = theta;
  const double x = angle > kPi / 2 ? kPi - angle : angle, z = x * x;  // sin(x) = x (1 - z / 3! + z^2 / 5! - ...)
  double series = 1;
  for (int n = 18; n >= 2; n -= 2) series = 1 - z * series * (1.0 / (n * (n + 1)));
  double derivative = -1 / (x * series);
  derivative = theta == 0 || theta == kFloatPi ? -kInfinity : derivative;
  return theta >= 0 && theta <= kFloatPi ? derivative : kNaN;
}

void forward(const float* theta, float* eta, int64_t count) {
  for (int64_t i = 0; i < count; ++i) eta[i] = eta_of(theta[i]);
}

void backward(const float* grad, const float* theta, float* result, int64_t count) {
  for (int64_t i = 0; i < count; ++i) result[i] = static_cast<float>(grad[i] * derivative_of(theta[i]));
}

}  // namespace

#define HITPOOL_JOIN(a, b) a##b
#define HITPOOL_TABLE(isa) HITPOOL_JOIN(eta_kernels_, isa)
constinit const EtaKernels HITPOOL_TABLE(HITPOOL_ISA) = {forward, backward};

}  // namespace hitpool::cpu
