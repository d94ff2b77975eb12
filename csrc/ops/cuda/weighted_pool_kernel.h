// The CUDA kernels of weighted_pool on plain pointers. They know no torch header, which nvcc would read once per
// architecture.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace hitpool::cuda {

enum class Dtype { float64, float32, bfloat16, float16 };

// The inputs of one call; all arrays are contiguous.
struct PoolInputs {
  int64_t events;      // B
  int64_t tracks;      // N, per event
  int64_t hits;        // M, below 2^31
  int64_t features;    // D
  const void* logits;  // [B, N, M]
  const void* values;  // [B, M, D]
  const bool* valid;   // [B, M], or null: every hit is valid
  Dtype logits_dtype;
  Dtype values_dtype;
  double threshold;
  double min_weight_sum;  // floor under the denominator of the mean
};

// One kernel each; what cudaGetLastError says after the launch. The arithmetic is in float64 if logits or values are
// float64, else in float32; weight_sums [B, N] has that type.

// pooled [B, N, 4, D] in the dtype of values, index [B, N, 2, D] or null
cudaError_t launch_forward(const PoolInputs&, void* pooled, int32_t* index, cudaStream_t stream);

// grad [B, N, 4, D] in the dtype of values; writes grad_logits [B, N, M] and the sum of weights of each row
cudaError_t launch_backward_logits(
    const PoolInputs&, const void* grad, void* grad_logits, void* weight_sums, cudaStream_t stream);

// writes grad_values [B, M, D]
cudaError_t launch_backward_features(
    const PoolInputs&, const void* grad, const int32_t* index, const void* weight_sums, void* grad_values,
    cudaStream_t stream);

}  // namespace hitpool::cuda
