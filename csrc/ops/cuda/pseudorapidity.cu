#include "ops/cuda/pseudorapidity_kernel.h"

#include <algorithm>

#include "ops/cuda/packet.cuh"
#include "ops/pseudorapidity_formula.h"

namespace hitpool::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 16;

template <class S>
using Arithmetic = std::conditional_t<sizeof(S) == 8, double, float>;

template <class S>
__global__ void forward_kernel(int64_t count, const S* theta, S* eta) {
  using T = Arithmetic<S>;
  const T pi = to<T>(stored<S>(static_cast<T>(kPiHigh)));
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += int64_t(gridDim.x) * kThreads) {
    eta[i] = stored<S>(pseudorapidity_of(to<T>(theta[i]), pi));
  }
}

template <class S>
__global__ void backward_kernel(int64_t count, const S* grad, const S* theta, S* result) {
  using T = Arithmetic<S>;
  const T pi = to<T>(stored<S>(static_cast<T>(kPiHigh)));
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += int64_t(gridDim.x) * kThreads) {
    result[i] = stored<S>(pseudorapidity_gradient_of(to<T>(grad[i]), to<T>(theta[i]), pi));
  }
}

unsigned blocks(int64_t count) {
  return static_cast<unsigned>(std::min((count + kThreads - 1) / kThreads, kMaxBlocks));
}

}  // namespace

cudaError_t launch_pseudorapidity(Dtype dtype, int64_t count, const void* theta, void* eta, cudaStream_t stream) {
  return with_type(dtype, [&](auto s) {
    using S = decltype(s);
    forward_kernel<S>
        <<<blocks(count), kThreads, 0, stream>>>(count, static_cast<const S*>(theta), static_cast<S*>(eta));
    return cudaGetLastError();
  });
}

cudaError_t launch_pseudorapidity_backward(
    Dtype dtype, int64_t count, const void* grad, const void* theta, void* result, cudaStream_t stream) {
  return with_type(dtype, [&](auto s) {
    using S = decltype(s);
    backward_kernel<S><<<blocks(count), kThreads, 0, stream>>>(
        count, static_cast<const S*>(grad), static_cast<const S*>(theta), static_cast<S*>(result));
    return cudaGetLastError();
  });
}

}  // namespace hitpool::cuda
