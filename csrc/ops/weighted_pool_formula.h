// The formulas of weighted_pool for one number, on host and device. T is the type of the arithmetic, float or double.
// Internal linkage: kernels that are compiled once per instruction set must not share inline functions.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#ifndef HITPOOL_HOST_DEVICE
#if defined(__CUDACC__)
#define HITPOOL_HOST_DEVICE __host__ __device__
#else
#define HITPOOL_HOST_DEVICE
#endif
#endif

namespace hitpool {
namespace {

// ---- selection: NaN counts as selected, so that it is not hidden ----

// A logit below the cut has p < threshold, however sigmoid is rounded: most hits need no exponential. On the host.
template <class T>
T logit_cut(T threshold) {
  const double slightly_less = threshold * (1 - 64 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  return static_cast<T>(std::log(slightly_less / (1 - slightly_less)));  // -inf for threshold 0
}

template <class T>
HITPOOL_HOST_DEVICE inline bool may_be_selected(T logit, T cut) {
  return !(logit < cut);
}

template <class T>
HITPOOL_HOST_DEVICE inline T probability_of(T logit) {
  return T(1) / (T(1) + std::exp(-logit));
}

template <class T>
HITPOOL_HOST_DEVICE inline bool is_selected(T probability, T threshold) {
  return !(probability < threshold);
}

// ---- forward ----

// 1 / sum(p), the sum kept above a floor. NaN if a logit was NaN.
template <class T>
HITPOOL_HOST_DEVICE inline T mean_factor(T weight_sum, T floor) {
  return T(1) / (weight_sum < floor ? floor : weight_sum);
}

// 0, or NaN if a logit was NaN: added to all four results.
template <class T>
HITPOOL_HOST_DEVICE inline T poison_of(T weight_sum) {
  return weight_sum - weight_sum;
}

// Does x, from a later hit, take the place of the extremum so far? An equal number does not; NaN does, and stays.
template <bool kMaximum, class T>
HITPOOL_HOST_DEVICE inline bool exceeds(T x, T extremum) {
  return !(kMaximum ? x <= extremum : x >= extremum) && extremum == extremum;
}

// The same for hits in any order; hit -1: no hit.
template <bool kMaximum, class T>
HITPOOL_HOST_DEVICE inline bool replaces(T x, int32_t hit, T extremum, int32_t extremum_hit) {
  if (hit < 0 || extremum_hit < 0) return hit >= 0;
  return hit < extremum_hit ? !exceeds<kMaximum>(extremum, x) : exceeds<kMaximum>(x, extremum);
}

// ---- backward ----

// dL/d(p x): the sum passes its gradient on as it is, the mean divided by the sum of weights.
template <class T>
HITPOOL_HOST_DEVICE inline T weighted_grad(T grad_mean, T grad_sum, T factor) {
  return grad_mean * factor + grad_sum;
}

// What the denominator of the mean takes from each dL/dp; mean_dot = grad_mean * mean. Below the floor it is constant.
template <class T>
HITPOOL_HOST_DEVICE inline T mean_pull(T mean_dot, T weight_sum, T floor) {
  return weight_sum < floor ? T(0) : mean_dot / weight_sum;
}

// dL/dlogit = p (1 - p) dL/dp with dL/dp = dot - pull, dot = weighted_grad * x.
template <class T>
HITPOOL_HOST_DEVICE inline T logit_grad(T dot, T pull, T probability) {
  return (dot - pull) * probability * (T(1) - probability);
}

}  // namespace
}  // namespace hitpool
