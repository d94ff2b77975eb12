// One call of weighted_pool as the kernels see it, how its features are laid over the lanes of a warp, and the step
// from run-time dtypes to templates. T is the type of the arithmetic, L and F are the types that logits and values are
// stored in.
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
constexpr int kPacket = sizeof(F) == 8 ? 2 : 4;  // features per lane
template <class F>
constexpr int kTile = kWarp * kPacket<F>;  // features per warp

template <class T, class L, class F>
struct Problem {
  int64_t rows, tracks, hits, features, tiles;  // B N, N, M, D, ceil(D / kTile)
  const L* logits;
  const F* values;
  const bool* valid;
  T threshold, cut, floor;
  int lanes_per_hit;  // a power of 2; a warp works on 32 / lanes_per_hit hits at once
  bool aligned;

  // Of the calling lane, in a tile of features.
  __device__ int64_t first_column(int64_t tile) const {
    return tile * kTile<F> + threadIdx.x % lanes_per_hit * kPacket<F>;
  }
  __device__ Columns columns(int64_t tile) const {
    const int64_t left = features - first_column(tile);
    return {left <= 0 ? 0 : left < kPacket<F> ? static_cast<int>(left) : kPacket<F>, aligned};
  }
};

// The smallest power of 2 that is at least `wanted`, between 1 and `most` (a power of 2).
inline int power_of_2(int64_t wanted, int most) {
  int power = 1;
  while (power < wanted && power < most) power *= 2;
  return power;
}

// Packets of `size` numbers can be used for all the arrays if they start on a multiple of 16 bytes and D fits.
inline bool are_aligned(int64_t features, int size, std::initializer_list<const void*> arrays) {
  return features % size == 0 && std::all_of(arrays.begin(), arrays.end(), [](const void* array) {
           return reinterpret_cast<std::uintptr_t>(array) % 16 == 0;
         });
}

template <class T, class L, class F>
Problem<T, L, F> make_problem(const PoolInputs& in, std::initializer_list<const void*> arrays) {
  const auto threshold = static_cast<T>(in.threshold);
  const bool aligned =
      are_aligned(in.features, kPacket<F>, arrays) && are_aligned(in.features, kPacket<F>, {in.values});
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
      power_of_2((in.features + kPacket<F> - 1) / kPacket<F>, kWarp),
      aligned};
}

// Blocks take pieces of work in turn, so that there may be more of them than a grid holds.
inline unsigned grid_of(int64_t work) {
  return static_cast<unsigned>(std::min<int64_t>(work, std::numeric_limits<int32_t>::max()));
}

template <class Body>
cudaError_t with_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::float64: return body(double{});
    case Dtype::float32: return body(float{});
    case Dtype::bfloat16: return body(__nv_bfloat16{});
    case Dtype::float16: return body(__half{});
  }
  return cudaErrorInvalidValue;
}

// body(T{}, L{}, F{})
template <class Body>
cudaError_t with_types(const PoolInputs& in, Body&& body) {
  return with_type(in.logits_dtype, [&](auto l) {
    return with_type(in.values_dtype, [&](auto f) {
      constexpr bool wide = sizeof(l) == 8 || sizeof(f) == 8;
      return body(std::conditional_t<wide, double, float>{}, l, f);
    });
  });
}

}  // namespace
}  // namespace hitpool::cuda
