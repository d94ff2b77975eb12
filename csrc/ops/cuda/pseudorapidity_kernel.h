// The CUDA kernels of pseudorapidity on plain pointers, without a torch header.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/dtype.h"

namespace hitpool::cuda {

// What cudaGetLastError says after the launch. `count` numbers, at least one; the arithmetic is in float64 for float64,
// else in float32.
cudaError_t launch_pseudorapidity(Dtype, int64_t count, const void* theta, void* eta, cudaStream_t stream);

// -grad / sin(theta)
cudaError_t launch_pseudorapidity_backward(
    Dtype, int64_t count, const void* grad, const void* theta, void* result, cudaStream_t stream);

}  // namespace hitpool::cuda
