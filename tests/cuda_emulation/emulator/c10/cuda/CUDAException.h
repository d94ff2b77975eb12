#pragma once
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#define C10_CUDA_CHECK(expression)                                                          \
  do {                                                                                      \
    const cudaError_t error_of_cuda = (expression);                                         \
    TORCH_CHECK(error_of_cuda == cudaSuccess, "CUDA: ", cudaGetErrorString(error_of_cuda)); \
  } while (0)
#define C10_CUDA_KERNEL_LAUNCH_CHECK() C10_CUDA_CHECK(cudaGetLastError())
