// Gradient of the logits: a block for each row (track of an event), or several where there are few long rows. With
// h = grad_mean / S + grad_sum:
//   dL/dp = h x - (grad_mean / S) mean
// The sums come from forward, so that one pass over the row is enough.
#include "ops/cuda/scan.cuh"

namespace hitpool::cuda {
namespace {

template <class T>
struct WarpMemory {
  static constexpr int capacity = sizeof(T) == 8 ? 256 : 400;  // four blocks of float fit into the 164 KiB of sm_80
  T weight[capacity];
  T dot[capacity];  // h x
  int32_t hit[capacity];
};

template <class T, class L, class F, bool aligned>
__global__ void __launch_bounds__(kMaxRowThreads, sizeof(T) == 8 ? 2 : 4) backward_logits_kernel(
    const Problem<T, L, F, aligned> in, int parts, bool zeros_in_packets, const F* __restrict__ grad,
    const T* __restrict__ sums, L* __restrict__ grad_logits) {
  constexpr int n = kPacket<F>;
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ T scratch[kMaxRowWarps];
  auto& list = reinterpret_cast<WarpMemory<T>*>(memory)[threadIdx.x / kWarp];
  const int group = in.group(), groups = in.groups();

  for (int64_t work = blockIdx.x; work < in.rows * parts; work += gridDim.x) {
    const int64_t row = work / parts;
    const int32_t before = before_row(in.logits + row * in.hits);
    const F* event = in.values + (row / in.tracks * in.hits - before) * in.features;  // [M, D], counted as in the list
    L* to_row = grad_logits + row * in.hits - before;                                 // likewise
    const F* grad_row = grad + row * 4 * in.features;                                 // mean, sum, max, min
    const T* total = sums + row * (in.features + 1);                                  // sum(p x) and sum(p)
    const T weight_sum = total[in.features], factor = mean_factor(weight_sum, in.floor);
    T mean_dot = 0;  // grad_mean * sum(p x)
    for (int64_t d = threadIdx.x; d < in.features; d += blockDim.x) mean_dot += to<T>(grad_row[d]) * total[d];
    const T pull = mean_pull(block_sum(mean_dot, scratch) * factor, weight_sum, in.floor);

    // Fills in the dots of a list that is not empty. Every lane of the warp takes part.
    const auto gather = [&](int count) {
      for (int64_t tile = 0; tile < in.tiles; ++tile) {
        const auto columns = in.columns(tile);
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
            for (int offset = 1 << in.lane_bits >> 1; offset > 0; offset /= 2) {
              dot += __shfl_xor_sync(kAllLanes, dot, offset);
            }
            if (k < count && in.lane_of_group() == 0) list.dot[k] = tile == 0 ? dot : list.dot[k] + dot;
          }
        }
      }
      __syncwarp();
    };

    RowScan<T, L> scan(in, row, static_cast<int>(work % parts), parts);
    do {
      const int count = scan.fill(list.hit, list.weight, WarpMemory<T>::capacity, to_row, zeros_in_packets);
      if (count > 0) gather(count);
      for (int k = threadIdx.x % kWarp; k < count; k += kWarp) {
        to_row[list.hit[k]] = stored<L>(logit_grad(list.dot[k], pull, list.weight[k]));
      }
    } while (!scan.done());
  }
}

}  // namespace

cudaError_t launch_backward_logits(
    const PoolInputs& inputs, const void* grad, const void* sums, void* grad_logits, cudaStream_t stream) {
  return with_problem(
      inputs, {grad}, [&]<class T, class L, class F, bool aligned>(const Problem<T, L, F, aligned>& in) {
        const int parts = parts_of_row(in.rows, in.hits);
        const int warps = row_warps(in.hits / parts);
        const bool zeros_in_packets = starts_packet(grad_logits) && starts_packet(in.logits);
        backward_logits_kernel<T, L, F, aligned>
            <<<grid_of(in.rows * parts), warps * kWarp, warps * sizeof(WarpMemory<T>), stream>>>(
                in, parts, zeros_in_packets, static_cast<const F*>(grad), static_cast<const T*>(sums),
                static_cast<L*>(grad_logits));
        return cudaGetLastError();
      });
}

}  // namespace hitpool::cuda
