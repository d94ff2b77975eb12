// The kernels of pseudorapidity on plain pointers, compiled once for each instruction set like those of weighted_pool
// (see weighted_pool_kernel.h for why they know no torch header).
#pragma once
#include <cstdint>

namespace hitpool::cpu {

// All arrays of one call have the same type.
struct EtaKernel {
  void (*forward)(const void* theta, void* eta, int64_t begin, int64_t end);
  void (*backward)(const void* grad, const void* theta, void* result, int64_t begin, int64_t end);
};

struct EtaKernels {
  EtaKernel float64, float32, bfloat16, float16;
};

extern const EtaKernels eta_kernels_baseline;
extern const EtaKernels eta_kernels_avx2;
extern const EtaKernels eta_kernels_avx512;

}  // namespace hitpool::cpu
