// Forward: a block for each row (track of an event) and tile of features, or several where there are few long rows.
// Every row of logits is read once; the rows of features that are selected are read in packets, several hits at once if
// one hit does not fill a warp.
#include "ops/cuda/scan.cuh"

namespace hitpool::cuda {
namespace {

constexpr int kCapacity = 256;  // of a warp's list

// Sum and extrema of one column over some hits.
template <class T>
struct Pooled {
  T sum = 0, high = 0, low = 0;
  int32_t high_hit = -1, low_hit = -1;  // -1: no hit yet

  __device__ __forceinline__ void merge(
      T other_sum, T other_high, T other_low, int32_t other_high_hit, int32_t other_low_hit) {
    sum += other_sum;
    if (replaces<true>(other_high, other_high_hit, high, high_hit)) high = other_high, high_hit = other_high_hit;
    if (replaces<false>(other_low, other_low_hit, low, low_hit)) low = other_low, low_hit = other_low_hit;
  }
  __device__ __forceinline__ void count_from(int32_t start) {
    if (high_hit >= 0) high_hit -= start, low_hit -= start;
  }
};

// The same of the columns of a packet, over the hits that came by.
template <class T, int n>
struct Pool {
  Pooled<T> column[n];

  // Hits come in ascending order.
  template <class F>
  __device__ __forceinline__ void add(const Packet<F, n>& packet, T weight, int32_t hit) {
    const bool first = column[0].high_hit < 0;
#pragma unroll
    for (int v = 0; v < n; ++v) {
      const T x = to<T>(packet.x[v]);
      Pooled<T>& c = column[v];
      c.sum += weight * x;
      if (first || exceeds<true>(x, c.high)) c.high = x, c.high_hit = hit;
      if (first || exceeds<false>(x, c.low)) c.low = x, c.low_hit = hit;
    }
  }

  // Adds what other lanes have, `first`, 2 `first`, 4 `first`... lanes away.
  __device__ __forceinline__ void merge_lanes(int first) {
    for (int offset = first; offset < kWarp; offset *= 2) {
#pragma unroll
      for (int v = 0; v < n; ++v) {
        Pooled<T>& c = column[v];
        const T sum = __shfl_xor_sync(kAllLanes, c.sum, offset);
        const T high = __shfl_xor_sync(kAllLanes, c.high, offset);
        const T low = __shfl_xor_sync(kAllLanes, c.low, offset);
        const int32_t high_hit = __shfl_xor_sync(kAllLanes, c.high_hit, offset);
        const int32_t low_hit = __shfl_xor_sync(kAllLanes, c.low_hit, offset);
        c.merge(sum, high, low, high_hit, low_hit);
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

template <class T, class F>
struct Results {
  F* pooled;       // [B, N, 4, D]
  int32_t* index;  // [B, N, 2, D], or null
  T* sums;         // [B, N, D + 1], or null

  __device__ __forceinline__ void store(
      int64_t row, int64_t d, int64_t features, const Pooled<T>& c, T weight_sum, T floor) const {
    const T poison = poison_of(weight_sum);
    F* to_row = pooled + row * 4 * features + d;
    to_row[0] = stored<F>(c.sum * mean_factor(weight_sum, floor) + poison);
    to_row[features] = stored<F>(c.sum + poison);
    to_row[2 * features] = stored<F>(c.high + poison);
    to_row[3 * features] = stored<F>(c.low + poison);
    if (sums == nullptr) return;
    int32_t* to_index = index + row * 2 * features + d;
    to_index[0] = c.high_hit;
    to_index[features] = c.low_hit;
    sums[row * (features + 1) + d] = c.sum + poison;
    if (d == 0) sums[row * (features + 1) + features] = weight_sum;
  }
};

// What the blocks of a row found, until it is merged. [B N, parts, D] each, weight_sum [B N, parts].
template <class T>
struct Parts {
  T *sum = nullptr, *high = nullptr, *low = nullptr, *weight_sum = nullptr;
  int32_t *high_hit = nullptr, *low_hit = nullptr;

  Parts() = default;  // of rows that are not cut
  Parts(void* scratch, int64_t rows, int64_t parts, int64_t features)
      : sum(static_cast<T*>(scratch)),
        high(sum + rows * parts * features),
        low(high + rows * parts * features),
        weight_sum(low + rows * parts * features),
        high_hit(reinterpret_cast<int32_t*>(weight_sum + rows * parts)),
        low_hit(high_hit + rows * parts * features) {}

  static int64_t bytes(int64_t rows, int64_t parts, int64_t features) {
    return rows * parts * ((3 * features + 1) * sizeof(T) + 2 * features * sizeof(int32_t));
  }
};

template <class T, class L, class F, bool aligned>
__global__ void __launch_bounds__(kMaxRowThreads, sizeof(T) == 8 ? 2 : 4)
    forward_kernel(const Problem<T, L, F, aligned> in, int parts, const Results<T, F> results, const Parts<T> partial) {
  constexpr int n = kPacket<F>;
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ T warp_weight_sum[kMaxRowWarps];
  auto* const shared = reinterpret_cast<WarpMemory<T, F>*>(memory);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int group = in.group(), groups = in.groups();
  auto& list = shared[warp].list;

  for (int64_t work = blockIdx.x; work < in.rows * in.tiles * parts; work += gridDim.x) {
    const int64_t row = work / (in.tiles * parts);
    const int rest = static_cast<int>(work % (in.tiles * parts)), tile = rest / parts, part = rest % parts;
    const int32_t before = before_row(in.logits + row * in.hits);
    // [M, D], hits counted as in the list
    const F* event = in.values + (row / in.tracks * in.hits - before) * in.features + in.first_column(tile);
    const auto columns = in.columns(tile);
    Pool<T, n> pool;

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
    RowScan<T, L> scan(in, row, part, parts);
    do {
      gather(scan.fill(list.hit, list.weight, kCapacity));
    } while (!scan.done());

    pool.merge_lanes(1 << in.lane_bits);
    T weight_sum = warp_sum(scan.weight_sum());
    __syncwarp();  // the list has been read
    auto& result = shared[warp].result;
    if (group == 0) {
#pragma unroll
      for (int v = 0; v < n; ++v) {
        const int d = lane * n + v;
        result.sum[d] = pool.column[v].sum;
        result.high[d] = pool.column[v].high;
        result.low[d] = pool.column[v].low;
        result.high_hit[d] = pool.column[v].high_hit;
        result.low_hit[d] = pool.column[v].low_hit;
      }
    }
    if (lane == 0) warp_weight_sum[warp] = weight_sum;
    __syncthreads();

    weight_sum = 0;
    for (int w = 0; w < warps; ++w) weight_sum += warp_weight_sum[w];
    const int64_t first = int64_t{tile} * kTile<F>;
    for (int d = threadIdx.x; d < kTile<F> && first + d < in.features; d += blockDim.x) {
      Pooled<T> c;
      for (int w = 0; w < warps; ++w) {
        const auto& other = shared[w].result;
        c.merge(other.sum[d], other.high[d], other.low[d], other.high_hit[d], other.low_hit[d]);
      }
      c.count_from(before);
      if (parts == 1) {
        results.store(row, first + d, in.features, c, weight_sum, in.floor);
        continue;
      }
      const int64_t at = (row * parts + part) * in.features + first + d;
      partial.sum[at] = c.sum;
      partial.high[at] = c.high;
      partial.low[at] = c.low;
      partial.high_hit[at] = c.high_hit;
      partial.low_hit[at] = c.low_hit;
      if (first + d == 0) partial.weight_sum[row * parts + part] = weight_sum;
    }
    __syncthreads();  // the results have been read
  }
}

constexpr int kMergeThreads = 128;

// A thread for each row and column, which takes the parts in their order.
template <class T, class F>
__global__ void __launch_bounds__(kMergeThreads) merge_kernel(
    int64_t rows, int64_t features, int parts, T floor, const Parts<T> partial, const Results<T, F> results) {
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < rows * features; i += stride) {
    const int64_t row = i / features, d = i % features;
    Pooled<T> c;
    T weight_sum = 0;
    for (int begin = 0; begin < parts; begin += kBatch) {
      Pooled<T> other[kBatch];
      T other_weight_sum[kBatch];
#pragma unroll
      for (int u = 0; u < kBatch; ++u) {
        const int k = begin + u < parts ? begin + u : parts - 1;  // where none is left, once more the last
        const int64_t part = row * parts + k;
        const int64_t at = part * features + d;
        other[u] = {partial.sum[at], partial.high[at], partial.low[at], partial.high_hit[at], partial.low_hit[at]};
        other_weight_sum[u] = partial.weight_sum[part];
      }
#pragma unroll
      for (int u = 0; u < kBatch; ++u) {
        if (begin + u >= parts) break;
        const Pooled<T>& o = other[u];
        c.merge(o.sum, o.high, o.low, o.high_hit, o.low_hit);
        weight_sum += other_weight_sum[u];
      }
    }
    results.store(row, d, features, c, weight_sum, floor);
  }
}

template <class Problem>
int parts_of(const Problem& in) {
  return parts_of_row(in.rows * in.tiles, in.hits);
}

}  // namespace

int64_t forward_scratch(const PoolInputs& inputs) {
  int64_t bytes = 0;
  with_problem(inputs, {}, [&]<class T, class L, class F, bool aligned>(const Problem<T, L, F, aligned>& in) {
    const int parts = parts_of(in);
    if (parts > 1) bytes = Parts<T>::bytes(in.rows, parts, in.features);
    return cudaSuccess;
  });
  return bytes;
}

cudaError_t launch_forward(
    const PoolInputs& inputs, void* pooled, int32_t* index, void* sums, void* scratch, cudaStream_t stream) {
  return with_problem(inputs, {}, [&]<class T, class L, class F, bool aligned>(const Problem<T, L, F, aligned>& in) {
    const int parts = parts_of(in);
    const int warps = row_warps(in.hits / parts);
    const Results<T, F> results{static_cast<F*>(pooled), index, static_cast<T*>(sums)};
    const auto partial = parts == 1 ? Parts<T>() : Parts<T>(scratch, in.rows, parts, in.features);
    const unsigned blocks = grid_of(in.rows * in.tiles * parts);
    forward_kernel<T, L, F, aligned>
        <<<blocks, warps * kWarp, warps * sizeof(WarpMemory<T, F>), stream>>>(in, parts, results, partial);
    if (parts == 1) return cudaGetLastError();
    if (const auto error = cudaGetLastError(); error != cudaSuccess) return error;
    const unsigned merges = grid_of((in.rows * in.features + kMergeThreads - 1) / kMergeThreads);
    merge_kernel<T, F><<<merges, kMergeThreads, 0, stream>>>(in.rows, in.features, parts, in.floor, partial, results);
    return cudaGetLastError();
  });
}

}  // namespace hitpool::cuda
