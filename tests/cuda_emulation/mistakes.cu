// One mistake per kernel, each of which the emulator must report; sum_of_block has none.
#include <cuda_runtime_api.h>

#include <cstdint>

namespace {

constexpr unsigned kAll = 0xffffffffu;

__device__ float sum_of_warp(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
  return x;
}

// to[block] = sum of from[block * blockDim.x + ...]
__global__ void sum_of_block(const float* from, float* to) {
  __shared__ float sums[32];
  const float x = sum_of_warp(from[blockIdx.x * blockDim.x + threadIdx.x]);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += sums[w];
  if (threadIdx.x == 0) to[blockIdx.x] = sum;
}
__global__ void no_barrier(const float* from, float* to) {
  __shared__ float sums[32];
  const float x = sum_of_warp(from[blockIdx.x * blockDim.x + threadIdx.x]);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  float sum = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += sums[w];
  if (threadIdx.x == 0) to[blockIdx.x] = sum;
}
__global__ void a_vote_is_no_barrier(const float* from, float* to) {
  __shared__ float values[128];
  values[threadIdx.x] = from[threadIdx.x];
  __any_sync(kAll, 1);
  const float next = values[threadIdx.x ^ 1];
  if (threadIdx.x == 0) to[blockIdx.x] = next;
}
__global__ void read_before_written(const float*, float* to) {
  extern __shared__ __align__(16) unsigned char memory[];
  const auto* values = reinterpret_cast<const float*>(memory);
  if (threadIdx.x == 0) to[blockIdx.x] = values[3];
}
__global__ void beyond_shared(const float* from, float* to) {
  __shared__ float values[127];
  values[threadIdx.x] = from[threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) to[blockIdx.x] = values[1];
}
__global__ void beyond_global(const float* from, float* to) {
  const float x = from[(blockIdx.x + 1) * blockDim.x + threadIdx.x];
  if (threadIdx.x == 0) to[blockIdx.x] = x;
}
__global__ void misaligned(const float* from, float* to) {
  const auto* wide = reinterpret_cast<const double*>(from + 1);
  const double x = *wide;
  if (threadIdx.x == 0) to[blockIdx.x] = static_cast<float>(x);
}
__global__ void undefined_shift(const float* from, float* to) {
  const unsigned bits = from[1] > 0 ? 1u << (threadIdx.x + 1) : 0;
  if (threadIdx.x == 0) to[blockIdx.x] = static_cast<float>(bits);
}
__global__ void writes_an_input(const float* from, float* to) {
  if (threadIdx.x == 0) to[blockIdx.x] = const_cast<float*>(from)[0] = 1;
}
__global__ void writes_twice(const float* from, float* to) { to[blockIdx.x] = from[threadIdx.x]; }
__global__ void two_blocks_write(const float* from, float* to) {
  if (threadIdx.x == 0 && blockIdx.x != 1) to[0] = from[0];
  if (threadIdx.x == 0 && blockIdx.x == 1) to[0] = to[1] = from[0];
}
__global__ void writes_nothing(const float* from, float* to) {
  if (threadIdx.x == 0 && blockIdx.x > 0) to[blockIdx.x] = from[0];
}
__global__ void reads_an_output(const float*, float* to) {
  if (threadIdx.x == 0) to[blockIdx.x] += 1;
}
__global__ void barrier_of_some(const float* from, float* to) {
  if (threadIdx.x < 64) __syncthreads();
  if (threadIdx.x == 0) to[blockIdx.x] = from[0];
}
__global__ void two_barriers(const float* from, float* to) {
  if (threadIdx.x < 64) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  if (threadIdx.x == 0) to[blockIdx.x] = from[0];
}
__global__ void shuffle_of_some(const float* from, float* to) {
  float x = from[threadIdx.x];
  if (threadIdx.x % 32 < 16) x = __shfl_xor_sync(kAll, x, 1);
  if (threadIdx.x == 0) to[blockIdx.x] = x;
}
__global__ void two_collectives(const float* from, float* to) {
  float x = from[threadIdx.x];
  if (threadIdx.x % 32 < 16) {
    x = __shfl_xor_sync(kAll, x, 1);
  } else {
    x = static_cast<float>(__ballot_sync(kAll, x > 0));
  }
  if (threadIdx.x == 0) to[blockIdx.x] = x;
}
__global__ void not_in_the_mask(const float* from, float* to) {
  const float x = __shfl_xor_sync(0xffffu, from[threadIdx.x], 1);
  if (threadIdx.x == 0) to[blockIdx.x] = x;
}
__global__ void lane_of_another_warp(const float* from, float* to) {
  const float x = __shfl_xor_sync(kAll, from[threadIdx.x], 32);
  if (threadIdx.x == 0) to[blockIdx.x] = x;
}
__global__ void barrier_in_a_loop(const float* from, float* to) {
  for (unsigned i = 0; i <= threadIdx.x / 32; ++i) __syncthreads();
  if (threadIdx.x == 0) to[blockIdx.x] = from[0];
}

}  // namespace

#define HITPOOL_RUN(kernel)                                   \
  extern "C" int run_##kernel(const float* from, float* to) { \
    kernel<<<2, 128, 64>>>(from, to);                         \
    return cudaGetLastError();                                \
  }
HITPOOL_RUN(sum_of_block)
HITPOOL_RUN(no_barrier)
HITPOOL_RUN(a_vote_is_no_barrier)
HITPOOL_RUN(read_before_written)
HITPOOL_RUN(beyond_shared)
HITPOOL_RUN(beyond_global)
HITPOOL_RUN(misaligned)
HITPOOL_RUN(undefined_shift)
HITPOOL_RUN(writes_an_input)
HITPOOL_RUN(writes_twice)
HITPOOL_RUN(two_blocks_write)
HITPOOL_RUN(writes_nothing)
HITPOOL_RUN(reads_an_output)
HITPOOL_RUN(barrier_of_some)
HITPOOL_RUN(two_barriers)
HITPOOL_RUN(shuffle_of_some)
HITPOOL_RUN(two_collectives)
HITPOOL_RUN(not_in_the_mask)
HITPOOL_RUN(lane_of_another_warp)
HITPOOL_RUN(barrier_in_a_loop)
