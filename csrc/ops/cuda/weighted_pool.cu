// CUDA kernels of weighted_pool. No atomics: every result is summed by one thread group in a fixed order.
#include "ops/weighted_pool.h"

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>
#include <type_traits>

#include "check.h"

namespace hitpool {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 4;
constexpr int kThreads = kWarp * kWarps;
constexpr int kPerLane = 4;                     // features per thread
constexpr int kTile = kWarp * kPerLane;         // features per block
constexpr unsigned kAllLanes = 0xffffffffu;

template <class T>
struct Inputs {
  int64_t tracks, hits, features;  // N, M, D
  const T* logits;                 // [B, N, M]
  const bool* valid;               // [B, M] or null
  T threshold;
};

template <class T>
__device__ T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

// The weight of hit m for a track if it is selected, else -1. NaN counts as selected.
template <class T>
__device__ T weight_or_none(const Inputs<T>& in, int64_t row, int64_t hit) {
  const int64_t event = row / in.tracks;
  if (in.valid != nullptr && !in.valid[event * in.hits + hit]) return T(-1);
  const T p = sigmoid(in.logits[row * in.hits + hit]);
  return p < in.threshold ? T(-1) : p;
}

template <class T>
__device__ bool is_selected(T weight) {
  return !(weight < 0);
}

template <class T>
__device__ T warp_sum(T x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// Sum over the block, the same in every thread; warps are added in order.
template <class T>
__device__ T block_sum(T x, T* shared) {
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = x;
  __syncthreads();
  T sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += shared[w];
  return sum;
}

// Does b, from hit j, replace a, from hit i, as the extremum? NaN is the most extreme; of equals the lower hit counts.
template <bool kMaximum, class T>
__device__ bool replaces(T b, int32_t j, T a, int32_t i) {
  if (j < 0) return false;
  if (i < 0) return true;
  if (b != b || a != a) return b != b && (a == a || j < i);
  if (b == a) return j < i;
  return kMaximum ? b > a : b < a;
}

// ---- forward: a block for each (row, tile of features); its warps share the selected hits ----

template <class T, class F>
__global__ void forward_kernel(Inputs<T> in, const F* values, F* pooled, int32_t* index) {
  __shared__ int32_t selected_hit[kThreads];
  __shared__ T selected_weight[kThreads];
  __shared__ int selected_in_warp[kWarps];
  __shared__ T merge_sum[kWarps][kTile], merge_high[kWarps][kTile], merge_low[kWarps][kTile];
  __shared__ int32_t merge_high_hit[kWarps][kTile], merge_low_hit[kWarps][kTile];
  __shared__ T scratch[kWarps];

  const int64_t row = blockIdx.x;
  const int64_t first = int64_t(blockIdx.y) * kTile;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const F* event = values + row / in.tracks * in.hits * in.features;  // [M, D]

  T sum[kPerLane] = {}, high[kPerLane] = {}, low[kPerLane] = {};
  int32_t high_hit[kPerLane], low_hit[kPerLane];
  for (int v = 0; v < kPerLane; ++v) high_hit[v] = low_hit[v] = -1;
  T weight_sum = 0;

  for (int64_t begin = 0; begin < in.hits; begin += kThreads) {
    // Compact the selected hits of this chunk in ascending order.
    const int64_t hit = begin + threadIdx.x;
    const T weight = hit < in.hits ? weight_or_none(in, row, hit) : T(-1);
    const unsigned votes = __ballot_sync(kAllLanes, is_selected(weight));
    __syncthreads();
    if (lane == 0) selected_in_warp[warp] = __popc(votes);
    __syncthreads();
    int position = __popc(votes & ((1u << lane) - 1));
    int count = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) position += selected_in_warp[w];
      count += selected_in_warp[w];
    }
    if (is_selected(weight)) {
      selected_hit[position] = static_cast<int32_t>(hit);
      selected_weight[position] = weight;
      weight_sum += weight;
    }
    __syncthreads();
    for (int k = warp; k < count; k += kWarps) {
      const int32_t m = selected_hit[k];
      const T w = selected_weight[k];
      const F* from = event + int64_t(m) * in.features + first;
      for (int v = 0; v < kPerLane; ++v) {
        const int d = v * kWarp + lane;
        if (first + d >= in.features) continue;
        const T x = static_cast<T>(from[d]);
        sum[v] += w * x;
        if (replaces<true>(x, m, high[v], high_hit[v])) high[v] = x, high_hit[v] = m;
        if (replaces<false>(x, m, low[v], low_hit[v])) low[v] = x, low_hit[v] = m;
      }
    }
  }

  weight_sum = block_sum(weight_sum, scratch);
  for (int v = 0; v < kPerLane; ++v) {
    const int d = v * kWarp + lane;
    merge_sum[warp][d] = sum[v];
    merge_high[warp][d] = high[v];
    merge_low[warp][d] = low[v];
    merge_high_hit[warp][d] = high_hit[v];
    merge_low_hit[warp][d] = low_hit[v];
  }
  __syncthreads();
  const int d = threadIdx.x;  // kThreads == kTile
  if (first + d >= in.features) return;
  T total = 0, highest = 0, lowest = 0;
  int32_t highest_hit = -1, lowest_hit = -1;
  for (int w = 0; w < kWarps; ++w) {
    total += merge_sum[w][d];
    if (replaces<true>(merge_high[w][d], merge_high_hit[w][d], highest, highest_hit)) {
      highest = merge_high[w][d], highest_hit = merge_high_hit[w][d];
    }
    if (replaces<false>(merge_low[w][d], merge_low_hit[w][d], lowest, lowest_hit)) {
      lowest = merge_low[w][d], lowest_hit = merge_low_hit[w][d];
    }
  }
  const T floor = static_cast<T>(kMinWeightSum);
  const T poison = weight_sum - weight_sum;  // 0, or NaN if a logit was NaN
  F* to = pooled + row * 4 * in.features + first + d;
  to[0] = static_cast<F>(total / (weight_sum < floor ? floor : weight_sum) + poison);
  to[in.features] = static_cast<F>(total + poison);
  to[2 * in.features] = static_cast<F>(highest + poison);
  to[3 * in.features] = static_cast<F>(lowest + poison);
  if (index != nullptr) {
    int32_t* to_index = index + row * 2 * in.features + first + d;
    to_index[0] = highest_hit;
    to_index[in.features] = lowest_hit;
  }
}
static_assert(kThreads == kTile);

// ---- backward of the logits: a block for each row, a warp for each selected hit ----

template <class T, class F>
__global__ void backward_logits_kernel(Inputs<T> in, const F* values, const F* grad, T* grad_logits, T* weight_sums) {
  __shared__ T scratch[kWarps];
  const int64_t row = blockIdx.x;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const F* event = values + row / in.tracks * in.hits * in.features;  // [M, D]
  const F* grad_mean = grad + row * 4 * in.features;
  const F* grad_sum = grad_mean + in.features;

  T weight_sum = 0;
  for (int64_t hit = threadIdx.x; hit < in.hits; hit += kThreads) {
    const T weight = weight_or_none(in, row, hit);
    if (is_selected(weight)) weight_sum += weight;
  }
  weight_sum = block_sum(weight_sum, scratch);
  if (threadIdx.x == 0) weight_sums[row] = weight_sum;
  const T floor = static_cast<T>(kMinWeightSum);
  const T norm = T(1) / (weight_sum < floor ? floor : weight_sum);

  T mean_dot = 0;  // grad_mean * mean
  for (int64_t hit = warp; hit < in.hits; hit += kWarps) {
    const T weight = weight_or_none(in, row, hit);
    if (!is_selected(weight)) continue;
    for (int64_t d = lane; d < in.features; d += kWarp) {
      mean_dot += static_cast<T>(grad_mean[d]) * weight * static_cast<T>(event[hit * in.features + d]);
    }
  }
  mean_dot = block_sum(mean_dot, scratch) * norm;
  // Below the floor of the mean's denominator, that denominator does not depend on p.
  const T pull = weight_sum < floor ? T(0) : mean_dot * norm;

  for (int64_t hit = warp; hit < in.hits; hit += kWarps) {
    const T weight = weight_or_none(in, row, hit);
    T result = 0;
    if (is_selected(weight)) {
      T dot = 0;
      for (int64_t d = lane; d < in.features; d += kWarp) {
        const T h = static_cast<T>(grad_mean[d]) * norm + static_cast<T>(grad_sum[d]);
        dot += h * static_cast<T>(event[hit * in.features + d]);
      }
      result = (warp_sum(dot) - pull) * weight * (T(1) - weight);
    }
    if (lane == 0) grad_logits[row * in.hits + hit] = result;
  }
}

// ---- backward of the features: a warp for each hit, which adds up what the tracks send it ----

template <class T, class F>
__global__ void backward_values_kernel(
    Inputs<T> in, int64_t all_hits, const F* grad, const int32_t* index, const T* weight_sums, F* grad_values) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t flat_hit = int64_t(blockIdx.x) * kWarps + warp;  // event * M + hit
  const int64_t first = int64_t(blockIdx.y) * kTile;
  if (flat_hit >= all_hits) return;
  const int64_t event = flat_hit / in.hits, hit = flat_hit % in.hits;
  const T floor = static_cast<T>(kMinWeightSum);
  T sum[kPerLane] = {};
  for (int64_t n = 0; n < in.tracks; ++n) {
    const int64_t row = event * in.tracks + n;
    const T weight = weight_or_none(in, row, hit);
    if (!is_selected(weight)) continue;
    const T norm = T(1) / (weight_sums[row] < floor ? floor : weight_sums[row]);
    const F* g = grad + row * 4 * in.features;
    const int32_t* extreme = index + row * 2 * in.features;
    for (int v = 0; v < kPerLane; ++v) {
      const int64_t d = first + v * kWarp + lane;
      if (d >= in.features) continue;
      sum[v] += weight * (static_cast<T>(g[d]) * norm + static_cast<T>(g[in.features + d]));
      if (extreme[d] == hit) sum[v] += static_cast<T>(g[2 * in.features + d]);
      if (extreme[in.features + d] == hit) sum[v] += static_cast<T>(g[3 * in.features + d]);
    }
  }
  for (int v = 0; v < kPerLane; ++v) {
    const int64_t d = first + v * kWarp + lane;
    if (d < in.features) grad_values[flat_hit * in.features + d] = static_cast<F>(sum[v]);
  }
}

// ---- host ----

// Contiguous inputs in the type of the arithmetic (features may stay in reduced precision).
struct Call {
  at::Tensor logits, values, valid;
  int64_t events = 1;

  Call(const at::Tensor& logits_in, const at::Tensor& features, const std::optional<at::Tensor>& valid_in) {
    TORCH_CHECK_VALUE(
        logits_in.size(-1) <= std::numeric_limits<int32_t>::max(),
        "hitpool::weighted_pool: expected at most 2^31 - 1 hits per event, got ", logits_in.size(-1));
    const bool wide = logits_in.scalar_type() == at::kDouble || features.scalar_type() == at::kDouble;
    logits = logits_in.to(wide ? at::kDouble : at::kFloat).contiguous();
    values = (wide ? features.to(at::kDouble) : features).contiguous();
    if (valid_in.has_value()) valid = valid_in->contiguous();
    for (int64_t d = 0; d < logits.dim() - 2; ++d) events *= logits.size(d);
  }

  template <class T>
  Inputs<T> inputs(double threshold) const {
    return {
        logits.size(-2), logits.size(-1), values.size(-1), logits.const_data_ptr<T>(),
        valid.defined() ? valid.const_data_ptr<bool>() : nullptr, static_cast<T>(threshold)};
  }
  int64_t rows() const { return events * logits.size(-2); }
  unsigned tiles() const { return static_cast<unsigned>((values.size(-1) + kTile - 1) / kTile); }
};

template <class F>
using ArithmeticType = std::conditional_t<std::is_same_v<F, double>, double, float>;

// [..., N, 4, D] in the dtype of call.values
at::Tensor forward(const Call& call, double threshold, int32_t* index) {
  auto pooled = empty_pooled(call.logits, call.values);
  if (pooled.numel() > 0) {
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, call.values.scalar_type(), "weighted_pool", [&] {
      using T = ArithmeticType<scalar_t>;
      const dim3 grid(static_cast<unsigned>(call.rows()), call.tiles());
      forward_kernel<T, scalar_t><<<grid, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
          call.inputs<T>(threshold), call.values.const_data_ptr<scalar_t>(), pooled.mutable_data_ptr<scalar_t>(), index);
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    });
  }
  return pooled;
}

at::Tensor weighted_pool_cuda(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const c10::cuda::CUDAGuard guard(logits.device());
  const Call call(logits, features, valid);
  return forward(call, threshold, nullptr).to(features.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_with_index_cuda(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  check_weighted_pool(logits, features, valid, threshold);
  const c10::cuda::CUDAGuard guard(logits.device());
  const Call call(logits, features, valid);
  auto index = empty_index(logits, features);
  auto pooled = forward(call, threshold, index.mutable_data_ptr<int32_t>());
  return {pooled.to(features.scalar_type()), std::move(index)};
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward_cuda(
    const at::Tensor& grad_in,
    const at::Tensor& index_in,
    const at::Tensor& logits,
    const at::Tensor& features,
    const std::optional<at::Tensor>& valid,
    double threshold) {
  check_weighted_pool_backward(grad_in, index_in, logits, features, valid, threshold);
  const c10::cuda::CUDAGuard guard(logits.device());
  const Call call(logits, features, valid);
  const auto grad = grad_in.to(call.values.scalar_type()).contiguous();
  const auto index = index_in.contiguous();
  auto grad_logits = at::empty(call.logits.sizes(), call.logits.options());
  auto grad_values = at::empty(call.values.sizes(), call.values.options());
  auto weight_sums = at::empty({call.rows()}, call.logits.options());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, call.values.scalar_type(), "weighted_pool_backward", [&] {
    using T = ArithmeticType<scalar_t>;
    const auto inputs = call.inputs<T>(threshold);
    if (call.rows() > 0) {
      backward_logits_kernel<T, scalar_t><<<static_cast<unsigned>(call.rows()), kThreads, 0, stream>>>(
          inputs, call.values.const_data_ptr<scalar_t>(), grad.const_data_ptr<scalar_t>(),
          grad_logits.mutable_data_ptr<T>(), weight_sums.mutable_data_ptr<T>());
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    }
    if (grad_values.numel() > 0) {
      const int64_t all_hits = call.events * inputs.hits;
      const dim3 grid(static_cast<unsigned>((all_hits + kWarps - 1) / kWarps), call.tiles());
      backward_values_kernel<T, scalar_t><<<grid, kThreads, 0, stream>>>(
          inputs, all_hits, grad.const_data_ptr<scalar_t>(), index.const_data_ptr<int32_t>(),
          weight_sums.const_data_ptr<T>(), grad_values.mutable_data_ptr<scalar_t>());
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    }
  });
  return {grad_logits.to(logits.scalar_type()), grad_values.to(features.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CUDA, m) {
  m.impl("weighted_pool", TORCH_FN(weighted_pool_cuda));
  m.impl("_weighted_pool_with_index", TORCH_FN(weighted_pool_with_index_cuda));
  m.impl("_weighted_pool_backward", TORCH_FN(weighted_pool_backward_cuda));
}

}  // namespace hitpool
