// Gradient of the logits: a block for each row (track of an event). With h = grad_mean / S + grad_sum:
//   dL/dp = h x - (grad_mean / S) mean
// The sums come from forward, so that one pass over the row is enough.
#include "ops/cuda/scan.cuh"

namespace hitpool::cuda {
namespace {

template <class T>
struct WarpMemory {
  static constexpr int capacity = sizeof(T) == 8 ? 256 : 480;  // kMaxRowWarps of them stay below 48 KiB
  T weight[capacity];
  T dot[capacity];  // h x
  int32_t hit[capacity];
};

template <class T, class L, class F>
__global__ void __launch_bounds__(kMaxRowThreads, sizeof(T) == 8 ? 2 : 3) backward_logits_kernel(
    const Problem<T, L, F> in, const F* __restrict__ grad, const T* __restrict__ sums, L* __restrict__ grad_logits) {
  constexpr int n = kPacket<F>;
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ T scratch[kMaxRowWarps];
  auto& list = reinterpret_cast<WarpMemory<T>*>(memory)[threadIdx.x / kWarp];
  const int lane = threadIdx.x % kWarp;
  const int group = lane / in.lanes_per_hit, groups = kWarp / in.lanes_per_hit;

  for (int64_t row = blockIdx.x; row < in.rows; row += gridDim.x) {
    const F* event = in.values + row / in.tracks * in.hits * in.features;  // [M, D]
    const F* grad_row = grad + row * 4 * in.features;                      // mean, sum, max, min
    L* to_row = grad_logits + row * in.hits;
    const T* total = sums + row * (in.features + 1);  // sum(p x) and sum(p)
    const T weight_sum = total[in.features], factor = mean_factor(weight_sum, in.floor);
    T mean_dot = 0;  // grad_mean * sum(p x)
    for (int64_t d = threadIdx.x; d < in.features; d += blockDim.x) mean_dot += to<T>(grad_row[d]) * total[d];
    const T pull = mean_pull(block_sum(mean_dot, scratch) * factor, weight_sum, in.floor);

    // Fills in the dots of a list. Every lane of the warp takes part.
    const auto gather = [&](int count) {
      for (int64_t tile = 0; tile < in.tiles; ++tile) {
        const Columns columns = in.columns(tile);
        const int64_t first = in.first_column(tile);
        const auto grad_mean = load_packet<n>(grad_row + first, columns);
        const auto grad_sum = load_packet<n>(grad_row + in.features + first, columns);
        T h[n];
#pragma unroll
        for (int v = 0; v < n; ++v) h[v] = weighted_grad(to<T>(grad_mean.x[v]), to<T>(grad_sum.x[v]), factor);
        for (int begin = 0; begin < count; begin += kBatch * groups) {
          Packet<F, n> packet[kBatch];
#pragma unroll
          for (int u = 0; u < kBatch; ++u) {
            const int k = begin + u * groups + group;
            packet[u] = Packet<F, n>{};
            if (k < count) packet[u] = load_packet<n>(event + list.hit[k] * in.features + first, columns);
          }
#pragma unroll
          for (int u = 0; u < kBatch; ++u) {
            const int k = begin + u * groups + group;
            T dot = 0;
#pragma unroll
            for (int v = 0; v < n; ++v) dot += h[v] * to<T>(packet[u].x[v]);
            for (int offset = in.lanes_per_hit / 2; offset > 0; offset /= 2) {
              dot += __shfl_xor_sync(kAllLanes, dot, offset);
            }
            if (k < count && lane % in.lanes_per_hit == 0) list.dot[k] = tile == 0 ? dot : list.dot[k] + dot;
          }
        }
      }
      __syncwarp();
    };

    RowScan<T, L> scan(in, row);
    do {
      const int count =
          scan.fill(list.hit, list.weight, WarpMemory<T>::capacity, [&](uint32_t m) { to_row[m] = stored<L>(T(0)); });
      gather(count);
      for (int k = lane; k < count; k += kWarp) {
        to_row[list.hit[k]] = stored<L>(logit_grad(list.dot[k], pull, list.weight[k]));
      }
    } while (!scan.done());
  }
}

}  // namespace

cudaError_t launch_backward_logits(
    const PoolInputs& inputs, const void* grad, const void* sums, void* grad_logits, cudaStream_t stream) {
  return with_types(inputs, [&](auto t, auto l, auto f) {
    using T = decltype(t);
    using L = decltype(l);
    using F = decltype(f);
    const auto in = make_problem<T, L, F>(inputs, {grad});
    const int warps = row_warps(in.hits);
    backward_logits_kernel<T, L, F><<<grid_of(in.rows), warps * kWarp, warps * sizeof(WarpMemory<T>), stream>>>(
        in, static_cast<const F*>(grad), static_cast<const T*>(sums), static_cast<L*>(grad_logits));
    return cudaGetLastError();
  });
}

}  // namespace hitpool::cuda
