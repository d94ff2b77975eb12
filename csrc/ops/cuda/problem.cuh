// One call of weighted_pool as the kernels see it, how its features are laid over the lanes of a warp, and the step
// from run-time dtypes to templates. T is the type of the arithmetic, L and F are the types that logits and values are
// stored in; aligned: the features of all arrays are moved in whole packets.
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <type_traits>

#include "ops/cuda/packet.cuh"
#include "ops/cuda/weighted_pool_kernel.h"
#include "ops/weighted_pool_formula.h"

namespace hitpool::cuda {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

template <class F>
constexpr int kTile = kWarp * kPacket<F>;  // features per warp

template <class T, class L, class F, bool aligned>
struct Problem {
  int64_t rows, tracks, hits, features, tiles;  // B N, N, M, D, ceil(D / kTile)
  const L* logits;
  const F* values;
  const bool* valid;
  T threshold, cut, floor;
  int lane_bits;  // 2^lane_bits lanes share a hit; a warp works on all groups of them at once

  __device__ int groups() const { return kWarp >> lane_bits; }
  __device__ int group() const { return static_cast<int>(threadIdx.x % kWarp) >> lane_bits; }
  __device__ int lane_of_group() const { return static_cast<int>(threadIdx.x) & ((1 << lane_bits) - 1); }

  // Of the calling lane, in a tile of features.
  __device__ int64_t first_column(int64_t tile) const { return tile * kTile<F> + lane_of_group() * kPacket<F>; }
  __device__ Columns<aligned> columns(int64_t tile) const {
    const int64_t left = features - first_column(tile);
    return {left <= 0 ? 0 : left < kPacket<F> ? static_cast<int>(left) : kPacket<F>};
  }
};

// The smallest power of 2 that is at least `wanted`, between 1 and `most` (a power of 2).
inline int power_of_2(int64_t wanted, int most) {
  int power = 1;
  while (power < wanted && power < most) power *= 2;
  return power;
}

inline int log_2(int power) {
  int bits = 0;
  while (1 << bits < power) ++bits;
  return bits;
}

inline bool starts_packet(const void* array) { return reinterpret_cast<std::uintptr_t>(array) % 16 == 0; }

template <bool aligned, class T, class L, class F>
Problem<T, L, F, aligned> make_problem(const PoolInputs& in) {
  const auto threshold = static_cast<T>(in.threshold);
  return {
      in.events * in.tracks,
      in.tracks,
      in.hits,
      in.features,
      (in.features + kTile<F> - 1) / kTile<F>,
      static_cast<const L*>(in.logits),
      static_cast<const F*>(in.values),
      in.valid,
      threshold,
      logit_cut(threshold),
      static_cast<T>(in.min_weight_sum),
      log_2(power_of_2((in.features + kPacket<F> - 1) / kPacket<F>, kWarp))};
}

// Blocks take pieces of work in turn, so that there may be more of them than a grid holds.
inline unsigned grid_of(int64_t work) {
  return static_cast<unsigned>(std::min<int64_t>(work, std::numeric_limits<int32_t>::max()));
}

// body(Problem<T, L, F, aligned>); arrays: those whose features are moved in packets, besides the values.
template <class Body>
cudaError_t with_problem(const PoolInputs& in, std::initializer_list<const void*> arrays, Body&& body) {
  return with_type(in.logits_dtype, [&](auto l) {
    return with_type(in.values_dtype, [&](auto f) {
      using L = decltype(l);
      using F = decltype(f);
      using T = std::conditional_t<sizeof(L) == 8 || sizeof(F) == 8, double, float>;
      const bool aligned = in.features % kPacket<F> == 0 && starts_packet(in.values) &&
                           std::all_of(arrays.begin(), arrays.end(), starts_packet);
      return aligned ? body(make_problem<true, T, L, F>(in)) : body(make_problem<false, T, L, F>(in));
    });
  });
}

}  // namespace
}  // namespace hitpool::cuda
