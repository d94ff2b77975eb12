// How a block finds the selected hits of one row of logits, and sums over warps and blocks.
//
// The row is cut into slices of 32 hits, dealt out to the warps in turn: neighbouring hits, which are often selected
// together, are shared by all warps. Each warp keeps the hits it selects in a list of its own, in ascending order, and
// works them off by itself: warps wait for each other only at the end of a row.
#pragma once
#include "ops/cuda/problem.cuh"

namespace hitpool::cuda {
namespace {

constexpr int kMaxRowWarps = 8;  // per row
constexpr int kMaxRowThreads = kMaxRowWarps * kWarp;
constexpr int kHitsPerWarp = 256;  // of a row, before the number of warps is doubled
constexpr int kSlices = 4;         // slices per warp and step; those of the next step are on their way meanwhile
constexpr int kBatch = 4;          // rows of features (or of logits) that are on their way at once

inline int row_warps(int64_t hits) { return power_of_2((hits + kHitsPerWarp - 1) / kHitsPerWarp, kMaxRowWarps); }

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// Sum over the block, the same in every thread; warps are added in order. `scratch`: one number per warp.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* scratch) {
  x = warp_sum(x);
  __syncthreads();  // the numbers of the sum before have been read
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  T sum = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / kWarp; ++w) sum += scratch[w];
  return sum;
}

// The calling warp's share of one row. Every lane of the warp calls the same functions.
template <class T, class L>
class RowScan {
 public:
  template <class F>
  __device__ __forceinline__ RowScan(const Problem<T, L, F>& in, int64_t row)
      : threshold_(in.threshold),
        cut_(in.cut),
        weight_sum_(0),
        hits_(static_cast<uint32_t>(in.hits)),  // below 2^31: begin_ and its successor do not wrap
        begin_(0),
        logits_(in.logits + row * in.hits + threadIdx.x),
        valid_(in.valid == nullptr ? nullptr : in.valid + row / in.tracks * in.hits) {}

  __device__ bool done() const { return begin_ >= hits_; }

  // Sum of the weights that this lane has put into the list since the start.
  __device__ T weight_sum() const { return weight_sum_; }

  // Goes on until the list is full or the row ends. Lists selected hits in hit[] and weight[], which have `capacity`
  // entries, and returns how many there are; calls unselected(m) for the other hits m that it came by.
  template <class Unselected>
  __device__ __forceinline__ int fill(int32_t* hit, T* weight, int capacity, Unselected&& unselected) {
    const uint32_t stride = blockDim.x;
    int count = 0;
    L next[kSlices];
    fetch(begin_, next);
    __syncwarp();  // the list has been read
    for (; begin_ < hits_ && count <= capacity - kSlices * kWarp; begin_ += kSlices * stride) {
      T logit[kSlices];
      bool wanted[kSlices], any = false;
#pragma unroll
      for (int j = 0; j < kSlices; ++j) {
        logit[j] = to<T>(next[j]);
        wanted[j] = hit_of(j) < hits_ && may_be_selected(logit[j], cut_);
        any |= wanted[j];
      }
      fetch(begin_ + kSlices * stride, next);
      if (__any_sync(kAllLanes, any)) {
#pragma unroll
        for (int j = 0; j < kSlices; ++j) {
          if (wanted[j] && valid_ != nullptr) wanted[j] = valid_[hit_of(j)];
        }
#pragma unroll
        for (int j = 0; j < kSlices; ++j) {
          T p = 0;
          if (wanted[j]) {
            p = probability_of(logit[j]);
            wanted[j] = is_selected(p, threshold_);
          }
          const unsigned votes = __ballot_sync(kAllLanes, wanted[j]);
          if (wanted[j]) {
            const int k = count + __popc(votes & ((1u << threadIdx.x % kWarp) - 1));
            hit[k] = static_cast<int32_t>(hit_of(j));
            weight[k] = p;
            weight_sum_ += p;
          }
          count += __popc(votes);
        }
      }
#pragma unroll
      for (int j = 0; j < kSlices; ++j) {
        if (hit_of(j) < hits_ && !wanted[j]) unselected(hit_of(j));
      }
    }
    __syncwarp();  // the list has been written
    return count;
  }

 private:
  __device__ uint32_t hit_of(int slice) const { return begin_ + slice * blockDim.x + threadIdx.x; }

  __device__ __forceinline__ void fetch(uint32_t begin, L (&logits)[kSlices]) const {
#pragma unroll
    for (int j = 0; j < kSlices; ++j) {
      const uint32_t offset = begin + j * blockDim.x;
      logits[j] = offset + threadIdx.x < hits_ ? logits_[offset] : L{};
    }
  }

  T threshold_, cut_, weight_sum_;
  uint32_t hits_, begin_;
  const L* logits_;  // of this thread's first hit
  const bool* valid_;
};

}  // namespace
}  // namespace hitpool::cuda
