// The formulas of pseudorapidity for one number, on host and device.
#pragma once
#include <cmath>

#if defined(__CUDACC__)
#define HITPOOL_HOST_DEVICE __host__ __device__
#else
#define HITPOOL_HOST_DEVICE
#endif

namespace hitpool {

// pi = kPiHigh + kPiLow. The difference of kPiHigh, or its half, and an angle within a factor of 2 of it is exact.
inline constexpr double kPiHigh = 3.14159265358979311600;
inline constexpr double kPiLow = 1.22464679914735317636e-16;

// eta for theta in [0, pi] (as float64 numbers; theta = kPiHigh is just below pi).
HITPOOL_HOST_DEVICE inline double eta_of_theta(double theta) {
  const bool backward = theta > kPiHigh / 2;
  const double polar = backward ? (kPiHigh - theta) + kPiLow : theta;  // angle to the nearer half of the beam axis
  double eta;
  if (polar < kPiHigh / 4) {
    eta = -std::log(std::tan(polar / 2));
  } else {
    // -log(tan(polar / 2)) = log((1 + t) / (1 - t)) with t = tan(u / 2), u = pi / 2 - polar: no cancellation at eta = 0.
    const double u = backward ? (theta - kPiHigh / 2) - kPiLow / 2 : (kPiHigh / 2 - theta) + kPiLow / 2;
    const double t = std::tan(u / 2);
    eta = std::log1p(2 * t / (1 - t));
  }
  return backward ? -eta : eta;
}

// S is the type that theta is stored in, which decides what number stands for pi.
template <class S>
HITPOOL_HOST_DEVICE inline double pseudorapidity_of(S theta, double pi_of_type) {
  const auto angle = static_cast<double>(theta);
  if (!(angle >= 0 && angle <= pi_of_type)) return static_cast<double>(NAN);
  if (angle == pi_of_type) return -static_cast<double>(INFINITY);
  return eta_of_theta(angle);
}

template <class S>
HITPOOL_HOST_DEVICE inline double pseudorapidity_derivative_of(S theta, double pi_of_type) {
  const auto angle = static_cast<double>(theta);
  if (!(angle >= 0 && angle <= pi_of_type)) return static_cast<double>(NAN);
  return angle == pi_of_type ? -static_cast<double>(INFINITY) : -1 / std::sin(angle);
}

}  // namespace hitpool
