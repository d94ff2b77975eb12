// Forward: a block for each row (track of an event) and tile of features. Every row of logits is read once; the rows of
// features that are selected are read 16 bytes per lane, several hits at once if one hit does not fill a warp.
#include "ops/cuda/scan.cuh"

namespace hitpool::cuda {
namespace {

constexpr int kCapacity = 256;  // of a warp's list

// Sums and extrema of some columns over the hits that came by.
template <class T, int n>
struct Pool {
  T sum[n], high[n], low[n];
  int32_t high_hit[n], low_hit[n];  // -1: no hit yet

  __device__ void clear() {
    for (int v = 0; v < n; ++v) {
      sum[v] = high[v] = low[v] = 0;
      high_hit[v] = low_hit[v] = -1;
    }
  }

  // Hits come in ascending order.
  template <class F>
  __device__ __forceinline__ void add(const Packet<F, n>& packet, T weight, int32_t hit) {
    const bool first = high_hit[0] < 0;
#pragma unroll
    for (int v = 0; v < n; ++v) {
      const T x = to<T>(packet.x[v]);
      sum[v] += weight * x;
      if (first || exceeds<true>(x, high[v])) high[v] = x, high_hit[v] = hit;
      if (first || exceeds<false>(x, low[v])) low[v] = x, low_hit[v] = hit;
    }
  }

  // Adds what other lanes have, `first`, 2 `first`, 4 `first`... lanes away.
  __device__ __forceinline__ void merge_lanes(int first) {
    for (int offset = first; offset < kWarp; offset *= 2) {
#pragma unroll
      for (int v = 0; v < n; ++v) {
        sum[v] += __shfl_xor_sync(kAllLanes, sum[v], offset);
        const T other_high = __shfl_xor_sync(kAllLanes, high[v], offset);
        const T other_low = __shfl_xor_sync(kAllLanes, low[v], offset);
        const int32_t other_high_hit = __shfl_xor_sync(kAllLanes, high_hit[v], offset);
        const int32_t other_low_hit = __shfl_xor_sync(kAllLanes, low_hit[v], offset);
        if (replaces<true>(other_high, other_high_hit, high[v], high_hit[v])) {
          high[v] = other_high, high_hit[v] = other_high_hit;
        }
        if (replaces<false>(other_low, other_low_hit, low[v], low_hit[v])) {
          low[v] = other_low, low_hit[v] = other_low_hit;
        }
      }
    }
  }
};

// What a warp keeps in shared memory: its list, and at the end its results.
template <class T, class F>
union WarpMemory {
  struct {
    T weight[kCapacity];
    int32_t hit[kCapacity];
  } list;
  struct {
    T sum[kTile<F>], high[kTile<F>], low[kTile<F>];
    int32_t high_hit[kTile<F>], low_hit[kTile<F>];
  } result;
};

template <class T, class L, class F>
__global__ void __launch_bounds__(kMaxRowThreads, sizeof(T) == 8 ? 2 : 3) forward_kernel(
    const Problem<T, L, F> in, F* __restrict__ pooled, int32_t* __restrict__ index, T* __restrict__ sums) {
  constexpr int n = kPacket<F>;
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ T warp_weight_sum[kMaxRowWarps];
  auto* const shared = reinterpret_cast<WarpMemory<T, F>*>(memory);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int group = lane / in.lanes_per_hit, groups = kWarp / in.lanes_per_hit;
  auto& list = shared[warp].list;

  for (int64_t work = blockIdx.x; work < in.rows * in.tiles; work += gridDim.x) {
    const int64_t row = work / in.tiles, tile = work % in.tiles;
    const F* event = in.values + row / in.tracks * in.hits * in.features + in.first_column(tile);  // [M, D]
    const Columns columns = in.columns(tile);
    Pool<T, n> pool;
    pool.clear();

    const auto gather = [&](int count) {
      for (int begin = group; begin < count; begin += kBatch * groups) {
        Packet<F, n> packet[kBatch];
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          const int k = begin + u * groups;
          if (k < count) packet[u] = load_packet<n>(event + list.hit[k] * in.features, columns);
        }
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          const int k = begin + u * groups;
          if (k < count) pool.add(packet[u], list.weight[k], list.hit[k]);
        }
      }
    };
    RowScan<T, L> scan(in, row);
    do {
      gather(scan.fill(list.hit, list.weight, kCapacity, [](uint32_t) {}));
    } while (!scan.done());

    pool.merge_lanes(in.lanes_per_hit);
    T weight_sum = warp_sum(scan.weight_sum());
    __syncwarp();  // the list has been read
    auto& result = shared[warp].result;
    if (group == 0) {
      for (int v = 0; v < n; ++v) {
        const int d = lane * n + v;
        result.sum[d] = pool.sum[v];
        result.high[d] = pool.high[v];
        result.low[d] = pool.low[v];
        result.high_hit[d] = pool.high_hit[v];
        result.low_hit[d] = pool.low_hit[v];
      }
    }
    if (lane == 0) warp_weight_sum[warp] = weight_sum;
    __syncthreads();

    weight_sum = 0;
    for (int w = 0; w < warps; ++w) weight_sum += warp_weight_sum[w];
    const T factor = mean_factor(weight_sum, in.floor), poison = poison_of(weight_sum);
    const int64_t first = tile * kTile<F>;
    for (int d = threadIdx.x; d < kTile<F> && first + d < in.features; d += blockDim.x) {
      T sum = 0, high = 0, low = 0;
      int32_t high_hit = -1, low_hit = -1;
      for (int w = 0; w < warps; ++w) {
        const auto& other = shared[w].result;
        sum += other.sum[d];
        if (replaces<true>(other.high[d], other.high_hit[d], high, high_hit)) {
          high = other.high[d], high_hit = other.high_hit[d];
        }
        if (replaces<false>(other.low[d], other.low_hit[d], low, low_hit)) {
          low = other.low[d], low_hit = other.low_hit[d];
        }
      }
      F* to_row = pooled + row * 4 * in.features + first + d;
      to_row[0] = stored<F>(sum * factor + poison);
      to_row[in.features] = stored<F>(sum + poison);
      to_row[2 * in.features] = stored<F>(high + poison);
      to_row[3 * in.features] = stored<F>(low + poison);
      if (sums != nullptr) {
        int32_t* to_index = index + row * 2 * in.features + first + d;
        to_index[0] = high_hit;
        to_index[in.features] = low_hit;
        sums[row * (in.features + 1) + first + d] = sum + poison;
      }
    }
    if (sums != nullptr && tile == 0 && threadIdx.x == 0) sums[row * (in.features + 1) + in.features] = weight_sum;
    __syncthreads();  // the results have been read
  }
}

}  // namespace

cudaError_t launch_forward(const PoolInputs& inputs, void* pooled, int32_t* index, void* sums, cudaStream_t stream) {
  return with_types(inputs, [&](auto t, auto l, auto f) {
    using T = decltype(t);
    using L = decltype(l);
    using F = decltype(f);
    const auto in = make_problem<T, L, F>(inputs, {});
    const int warps = row_warps(in.hits);
    forward_kernel<T, L, F><<<grid_of(in.rows * in.tiles), warps * kWarp, warps * sizeof(WarpMemory<T, F>), stream>>>(
        in, static_cast<F*>(pooled), index, static_cast<T*>(sums));
    return cudaGetLastError();
  });
}

}  // namespace hitpool::cuda
