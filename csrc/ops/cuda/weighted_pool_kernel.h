// The CUDA kernels of weighted_pool on plain pointers. They know no torch header, which nvcc would read once per
// architecture.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/pool_inputs.h"

namespace hitpool::cuda {

// What cudaGetLastError says after the launch. The arithmetic is in float64 if logits or values are
// float64, else in float32; sums [B, N, D + 1] has that type: sum(p x) and sum(p).

// Bytes of memory that forward needs while it runs, 0 unless there are few long rows.
int64_t forward_scratch(const PoolInputs&);

// pooled [B, N, 4, D] in the dtype of values; index [B, N, 2, D] and sums, or null; scratch on a multiple of 16 bytes, or null if
// forward needs none
cudaError_t launch_forward(
    const PoolInputs&, void* pooled, int32_t* index, void* sums, void* scratch, cudaStream_t stream);

// grad [B, N, 4, D] in the dtype of values; writes grad_logits [B, N, M]
cudaError_t launch_backward_logits(
    const PoolInputs&, const void* grad, const void* sums, void* grad_logits, cudaStream_t stream);

// writes grad_values [B, M, D]
cudaError_t launch_backward_features(
    const PoolInputs&, const void* grad, const int32_t* index, const void* sums, void* grad_values,
    cudaStream_t stream);

}  // namespace hitpool::cuda
