// Gradient of the features: a block for each tile of 32 hits and tile of features, which adds up what the tracks send.
//   dL/dx[m] = sum over tracks, in ascending order, of  p h  +  grad_max and grad_min where m is the extreme hit
//
// First the warps share the tracks: lanes are neighbouring hits, so that logits are read 32 at a time, and note in bits
// which tracks select which hit. Then they share the hits, and work off the bits.
#include "ops/cuda/scan.cuh"

namespace hitpool::cuda {
namespace {

constexpr int kHits = kWarp;       // per block
constexpr int kRun = 32;           // tracks per warp and pass: the bits of a number
constexpr int kTracksPerWarp = 8;  // before another warp joins in
constexpr int kRounds = 4;         // hits, one after the other, whose sums a lane holds
constexpr int kLogits = 8;         // of neighbouring tracks, that are on their way at once

template <class T>
constexpr int kMaxWarps = sizeof(T) == 8 ? 4 : 8;  // their memory stays below 48 KiB

// What a warp found out about its tracks.
template <class T>
struct WarpMemory {
  T weight[kRun][kHits];  // where selected
  T factor[kRun];
  uint32_t tracks[kHits];  // bit t: track t selects the hit
  uint32_t extreme[kRun];  // bit m: hit m is extreme in a column of the track
};

__device__ __forceinline__ uint32_t warp_or(uint32_t bits) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_or_sync(kAllLanes, bits);
#else
  for (int offset = kWarp / 2; offset > 0; offset /= 2) bits |= __shfl_xor_sync(kAllLanes, bits, offset);
  return bits;
#endif
}

// The bit of a hit among the kHits of a block, or none.
__device__ __forceinline__ uint32_t bit_of(int32_t hit, int64_t first_hit) {
  const uint32_t slot = static_cast<uint32_t>(hit) - static_cast<uint32_t>(first_hit);
  return slot < kHits ? 1u << slot : 0u;
}

template <class T, class L, class F, bool aligned>
__global__ void __launch_bounds__(kMaxWarps<T>* kWarp, 4) backward_features_kernel(
    const Problem<T, L, F, aligned> in, int64_t pieces, int64_t hit_tiles, int run, const F* __restrict__ grad,
    const int32_t* __restrict__ index, const T* __restrict__ sums, F* __restrict__ grad_values) {
  constexpr int n = kPacket<F>;
  extern __shared__ __align__(16) unsigned char memory[];
  auto* const shared = reinterpret_cast<WarpMemory<T>*>(memory);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int group = in.group(), groups = in.groups();
  const int pass_tracks = warps * run;

  for (int64_t work = blockIdx.x; work < pieces; work += gridDim.x) {
    const int64_t tile = work % in.tiles, event = work / in.tiles / hit_tiles;
    const int64_t first_hit = work / in.tiles % hit_tiles * kHits;
    const int64_t first_row = event * in.tracks;
    const auto columns = in.columns(tile);
    const int64_t first_column = in.first_column(tile);

    // Lane: hit. Fills the calling warp's memory for `count` tracks, that of `row` first.
    const auto find = [&](int64_t row, int count) {
      WarpMemory<T>& mine = shared[warp];
      const int64_t hit = first_hit + lane;
      const bool usable = hit < in.hits && (in.valid == nullptr || in.valid[event * in.hits + hit]);
      const L* logits = in.logits + row * in.hits + hit;
      uint32_t tracks = 0;
      for (int begin = 0; begin < count; begin += kLogits) {
        L logit[kLogits];
#pragma unroll
        for (int u = 0; u < kLogits; ++u) {
          logit[u] = usable && begin + u < count ? *logits : L{};
          logits += in.hits;
        }
#pragma unroll
        for (int u = 0; u < kLogits; ++u) {
          const T x = to<T>(logit[u]);
          if (usable && begin + u < count && may_be_selected(x, in.cut)) {
            const T p = probability_of(x);
            if (is_selected(p, in.threshold)) {
              tracks |= 1u << (begin + u);
              mine.weight[begin + u][lane] = p;
            }
          }
        }
      }
      mine.tracks[lane] = tracks;
      const uint32_t any = warp_or(tracks);  // tracks that select one of the hits
      if (any >> lane & 1u) mine.factor[lane] = mean_factor(sums[(row + lane + 1) * (in.features + 1) - 1], in.floor);
      for (uint32_t left = any; left != 0;) {
        int track[kBatch];
        uint32_t hits[kBatch] = {};
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          track[u] = __ffs(left) - 1;  // -1: none is left
          left &= left - 1;
        }
        for (int64_t d = tile * kTile<F> + lane; d < in.features && d < (tile + 1) * kTile<F>; d += kWarp) {
          int32_t high[kBatch], low[kBatch];
#pragma unroll
          for (int u = 0; u < kBatch; ++u) {
            // Without a condition, which nvcc 13.0 would take to wait for each: where none is left, once more the first.
            const int32_t* extreme = index + (row + (track[u] < 0 ? track[0] : track[u])) * 2 * in.features + d;
            high[u] = extreme[0];
            low[u] = extreme[in.features];
          }
#pragma unroll
          for (int u = 0; u < kBatch; ++u) hits[u] |= bit_of(high[u], first_hit) | bit_of(low[u], first_hit);
        }
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          hits[u] = warp_or(hits[u]);
          if (lane == 0 && track[u] >= 0) mine.extreme[track[u]] = hits[u];
        }
      }
    };

    // Group of lanes: hit. Adds what the tracks of this pass, that of `row` first, send to the hit in `slot`.
    const auto add = [&](int64_t row, int slot, T(&sum)[n]) {
      for (int w = 0; w < warps; ++w, row += run) {
        const WarpMemory<T>& found = shared[w];
        for (uint32_t left = found.tracks[slot]; left != 0; left &= left - 1) {
          const int t = __ffs(left) - 1;
          const T weight = found.weight[t][slot], factor = found.factor[t];
          const F* from = grad + (row + t) * 4 * in.features + first_column;  // mean, sum, max, min
          const auto grad_mean = load_packet<n>(from, columns);
          const auto grad_sum = load_packet<n>(from + in.features, columns);
#pragma unroll
          for (int v = 0; v < n; ++v) {
            sum[v] += weight * weighted_grad(to<T>(grad_mean.x[v]), to<T>(grad_sum.x[v]), factor);
          }
          if ((found.extreme[t] >> slot & 1u) == 0) continue;
          const int32_t hit = static_cast<int32_t>(first_hit) + slot;
          const int32_t* extreme = index + (row + t) * 2 * in.features + first_column;
          const auto high = load_packet<n>(extreme, columns);
          const auto low = load_packet<n>(extreme + in.features, columns);
          const auto grad_high = load_packet<n>(from + 2 * in.features, columns);
          const auto grad_low = load_packet<n>(from + 3 * in.features, columns);
#pragma unroll
          for (int v = 0; v < n; ++v) {
            if (high.x[v] == hit) sum[v] += to<T>(grad_high.x[v]);
            if (low.x[v] == hit) sum[v] += to<T>(grad_low.x[v]);
          }
        }
      }
    };

    for (int first_slot = 0; first_slot < kHits; first_slot += kRounds * warps * groups) {
      T sum[kRounds][n] = {};
      for (int64_t begin = 0; begin < in.tracks; begin += pass_tracks) {
        if (first_slot == 0 || in.tracks > pass_tracks) {  // else the memory still holds all tracks
          const int64_t left = in.tracks - begin - warp * run;
          __syncthreads();  // the memory has been read
          find(first_row + begin + warp * run, left <= 0 ? 0 : left < run ? static_cast<int>(left) : run);
          __syncthreads();
        }
#pragma unroll
        for (int r = 0; r < kRounds; ++r) {
          const int slot = first_slot + (r * warps + warp) * groups + group;
          if (slot < kHits) add(first_row + begin, slot, sum[r]);
        }
      }
#pragma unroll
      for (int r = 0; r < kRounds; ++r) {
        const int slot = first_slot + (r * warps + warp) * groups + group;
        if (slot < kHits && first_hit + slot < in.hits) {
          store_packet(
              grad_values + (event * in.hits + first_hit + slot) * in.features + first_column, sum[r], columns);
        }
      }
    }
  }
}

}  // namespace

cudaError_t launch_backward_features(
    const PoolInputs& inputs, const void* grad, const int32_t* index, const void* sums, void* grad_values,
    cudaStream_t stream) {
  const std::initializer_list<const void*> arrays = {grad, index, grad_values};
  return with_problem(
      inputs, arrays, [&]<class T, class L, class F, bool aligned>(const Problem<T, L, F, aligned>& in) {
        const int warps = power_of_2((in.tracks + kTracksPerWarp - 1) / kTracksPerWarp, kMaxWarps<T>);
        const int run = static_cast<int>(std::clamp<int64_t>((in.tracks + warps - 1) / warps, 1, kRun));
        const int64_t hit_tiles = (in.hits + kHits - 1) / kHits;
        const int64_t pieces = inputs.events * hit_tiles * in.tiles;
        backward_features_kernel<T, L, F, aligned>
            <<<grid_of(pieces), warps * kWarp, warps * sizeof(WarpMemory<T>), stream>>>(
                in, pieces, hit_tiles, run, static_cast<const F*>(grad), index, static_cast<const T*>(sums),
                static_cast<F*>(grad_values));
        return cudaGetLastError();
      });
}

}  // namespace hitpool::cuda
