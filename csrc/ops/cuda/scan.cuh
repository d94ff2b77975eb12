// How a block finds the selected hits of one row of logits, or of a part of it, and sums over warps and blocks.
//
// The row is cut into packets of neighbouring logits, which are dealt out to the threads in turn. Each warp keeps the
// hits it selects in a list of its own, in ascending order, and works them off by itself: warps wait for each other only
// at the end of a row.
#pragma once
#include "ops/cuda/problem.cuh"

namespace hitpool::cuda {
namespace {

constexpr int kMaxRowWarps = 8;  // per row
constexpr int kMaxRowThreads = kMaxRowWarps * kWarp;
constexpr int kHitsPerWarp = 256;  // of a row, before the number of warps is doubled
constexpr int kBatch = 4;          // rows of features, or of results, that are on their way at once

inline int row_warps(int64_t hits) { return power_of_2((hits + kHitsPerWarp - 1) / kHitsPerWarp, kMaxRowWarps); }

// Few long rows would leave most of a GPU idle: several blocks share a row. It depends on the sizes alone in how many
// parts a row is cut, so that results are the same on every GPU.
constexpr int64_t kEnoughBlocks = 256;
constexpr int64_t kMinPart = 2048;  // hits

inline int parts_of_row(int64_t blocks, int64_t hits) {
  if (blocks >= kEnoughBlocks) return 1;
  return static_cast<int>(std::min((kEnoughBlocks + blocks - 1) / blocks, std::max<int64_t>(1, hits / kMinPart)));
}

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

// Numbers between the start of a packet and that of a row.
template <class L>
__device__ __forceinline__ int32_t before_row(const L* row) {
  return static_cast<int32_t>(reinterpret_cast<std::uintptr_t>(row) / sizeof(L) % kPacket<L>);
}

// The calling warp's share of a part of one row. Every lane of the warp calls the same functions. Hits are counted from
// the start of the packet that the row begins in: hit m of the row is m + before_row.
template <class T, class L>
class RowScan {
 public:
  static constexpr int n = kPacket<L>;
  static constexpr int kStep = n * kWarp;  // hits that a warp looks at at once

  template <class F, bool aligned>
  __device__ __forceinline__ RowScan(const Problem<T, L, F, aligned>& in, int64_t row, int part, int parts)
      : threshold_(in.threshold), cut_(in.cut), weight_sum_(0) {
    const L* logits = in.logits + row * in.hits;
    const int32_t before = before_row(logits);
    logits_ = logits - before;
    valid_ = in.valid == nullptr ? nullptr : in.valid + row / in.tracks * in.hits - before;
    first_ = static_cast<uint32_t>(part * in.hits / parts) + before;
    last_ = static_cast<uint32_t>((part + 1) * in.hits / parts) + before;
    begin_ = first_ / n * n;
  }

  __device__ bool done() const { return begin_ >= last_; }

  // Sum of the weights that this lane has put into the list since the start.
  __device__ T weight_sum() const { return weight_sum_; }

  // Goes on until the list is full or the row ends. Lists selected hits in hit[] and weight[], which have `capacity`
  // entries, and returns how many there are. Where `zeros` is not null, zeros[m] = 0 for all hits m that it came by, in
  // whole packets if `zeros` is aligned as the logits are.
  __device__ __forceinline__ int fill(
      int32_t* hit, T* weight, int capacity, L* zeros = nullptr, bool zeros_in_packets = false) {
    int count = 0;
    Packet<L> next = fetch(begin_);
    __syncwarp();  // the list has been read
    for (; begin_ < last_ && count <= capacity - kStep; begin_ += blockDim.x * n) {
      T logit[n];
      bool wanted[n], any = false;
      const uint32_t first = begin_ + threadIdx.x * n;
#pragma unroll
      for (int j = 0; j < n; ++j) {
        logit[j] = to<T>(next.x[j]);
        wanted[j] = is_hit(first + j) && may_be_selected(logit[j], cut_);
        any |= wanted[j];
      }
      next = fetch(begin_ + blockDim.x * n);
      if (zeros != nullptr) clear(zeros, first, zeros_in_packets);
      if (!__any_sync(kAllLanes, any)) continue;
      if (valid_ != nullptr) {
#pragma unroll
        for (int j = 0; j < n; ++j) wanted[j] = wanted[j] && valid_[first + j];
      }
      unsigned votes[n];
#pragma unroll
      for (int j = 0; j < n; ++j) {
        logit[j] = wanted[j] ? probability_of(logit[j]) : T(0);
        wanted[j] = wanted[j] && is_selected(logit[j], threshold_);
        votes[j] = __ballot_sync(kAllLanes, wanted[j]);
      }
      const unsigned lanes_below = (1u << threadIdx.x % kWarp) - 1;
      int position = count;
#pragma unroll
      for (int j = 0; j < n; ++j) {
        position += __popc(votes[j] & lanes_below);
        count += __popc(votes[j]);
      }
#pragma unroll
      for (int j = 0; j < n; ++j) {
        if (wanted[j]) {
          hit[position] = static_cast<int32_t>(first + j);
          weight[position] = logit[j];
          weight_sum_ += logit[j];
          ++position;
        }
      }
    }
    __syncwarp();  // the list has been written
    return count;
  }

 private:
  // Hits are fewer than 2^31, and what comes behind the last is nowhere near 2^32.
  __device__ bool is_hit(uint32_t m) const { return m - first_ < last_ - first_; }
  __device__ bool is_whole(uint32_t first) const { return is_hit(first) && is_hit(first + n - 1); }

  __device__ __forceinline__ Packet<L> fetch(uint32_t begin) const {
    const uint32_t first = begin + threadIdx.x * n;
    if (is_whole(first)) return whole_packet<L, n>(logits_ + first);
    Packet<L> packet{};
#pragma unroll
    for (int j = 0; j < n; ++j) {
      if (is_hit(first + j)) packet.x[j] = logits_[first + j];
    }
    return packet;
  }

  __device__ __forceinline__ void clear(L* zeros, uint32_t first, bool in_packets) const {
    if (in_packets && is_whole(first)) {
      store_whole(zeros + first, Packet<L>{});
      return;
    }
#pragma unroll
    for (int j = 0; j < n; ++j) {
      if (is_hit(first + j)) zeros[first + j] = L{};
    }
  }

  T threshold_, cut_, weight_sum_;
  uint32_t first_, last_;  // of the part
  uint32_t begin_;         // where the block goes on
  const L* logits_;
  const bool* valid_;
};

}  // namespace
}  // namespace hitpool::cuda
