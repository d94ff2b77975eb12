// Gradient of the logits: a block for each row (track of an event), which also leaves the row's sum of weights for the
// gradient of the features. With h = grad_mean / S + grad_sum:  dL/dp = h x - (grad_mean / S) mean.
//
// The sum S is known only at the end of the row, so the selected hits wait in the lists of the warps. If they do not
// fit, the row is scanned again: once for the mean and once to write.
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
__global__ void __launch_bounds__(kMaxRowWarps * kWarp, sizeof(T) == 8 ? 2 : 3) backward_logits_kernel(
    const Problem<T, L, F> in, const F* __restrict__ grad, L* __restrict__ grad_logits, T* __restrict__ weight_sums) {
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
    T weight_sum = 0, factor = 0, pull = 0;
    T mean_dot = 0;  // of this lane: grad_mean * sum(p x)

    // Fills in the dots of a list and adds to mean_dot. Every lane of the warp takes part.
    const auto gather = [&](int count) {
      for (int64_t tile = 0; tile < in.tiles; ++tile) {
        const Columns columns = in.columns(tile);
        const int64_t first = in.first_column(tile);
        const auto grad_mean = load_packet<n>(grad_row + first, columns);
        const auto grad_sum = load_packet<n>(grad_row + in.features + first, columns);
        T h[n], total[n];
#pragma unroll
        for (int v = 0; v < n; ++v) {
          h[v] = weighted_grad(to<T>(grad_mean.x[v]), to<T>(grad_sum.x[v]), factor);
          total[v] = 0;
        }
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
            const T weight = k < count ? list.weight[k] : T(0);
            T dot = 0;
#pragma unroll
            for (int v = 0; v < n; ++v) {
              const T x = to<T>(packet[u].x[v]);
              dot += h[v] * x;
              total[v] += weight * x;
            }
            for (int offset = in.lanes_per_hit / 2; offset > 0; offset /= 2) {
              dot += __shfl_xor_sync(kAllLanes, dot, offset);
            }
            if (k < count && lane % in.lanes_per_hit == 0) list.dot[k] = tile == 0 ? dot : list.dot[k] + dot;
          }
        }
        for (int v = 0; v < n; ++v) mean_dot += to<T>(grad_mean.x[v]) * total[v];
      }
      __syncwarp();
    };
    const auto write = [&](int count) {
      for (int k = lane; k < count; k += kWarp) {
        to_row[list.hit[k]] = stored<L>(logit_grad(list.dot[k], pull, list.weight[k]));
      }
    };

    enum { kCollect, kMean, kWrite } pass = kCollect;
    bool overflow = false;
    RowScan<T, L> scan(in, row);
    for (;;) {
      const int count = scan.fill(
          list.hit, list.weight, WarpMemory<T>::capacity, [&](uint32_t m) { to_row[m] = stored<L>(T(0)); });
      const bool end = scan.done();
      if (pass == kCollect) {
        overflow |= !end;
        if (!end) continue;
        weight_sum = block_sum(scan.weight_sum(), scratch);
        factor = mean_factor(weight_sum, in.floor);
        if (__syncthreads_or(overflow)) {
          pass = kMean;
          scan.restart();
          continue;
        }
      }
      gather(count);
      if (end && pass != kWrite) pull = mean_pull(block_sum(mean_dot, scratch) * factor, weight_sum, in.floor);
      if (pass == kWrite || (end && pass == kCollect)) write(count);
      if (!end) continue;
      if (pass != kMean) break;
      pass = kWrite;
      scan.restart();
    }
    if (threadIdx.x == 0) weight_sums[row] = weight_sum;
  }
}

}  // namespace

cudaError_t launch_backward_logits(
    const PoolInputs& inputs, const void* grad, void* grad_logits, void* weight_sums, cudaStream_t stream) {
  return with_types(inputs, [&](auto t, auto l, auto f) {
    using T = decltype(t);
    using L = decltype(l);
    using F = decltype(f);
    const auto in = make_problem<T, L, F>(inputs, {grad});
    const int warps = row_warps(in.hits);
    backward_logits_kernel<T, L, F><<<grid_of(in.rows), warps * kWarp, warps * sizeof(WarpMemory<T>), stream>>>(
        in, static_cast<const F*>(grad), static_cast<L*>(grad_logits), static_cast<T*>(weight_sums));
    return cudaGetLastError();
  });
}

}  // namespace hitpool::cuda
