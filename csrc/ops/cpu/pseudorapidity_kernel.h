// The float32 kernels of pseudorapidity on plain pointers, compiled once for each instruction set like those of
// weighted_pool (see weighted_pool_kernel.h for why they know no torch header).
#pragma once
#include <cstdint>

namespace hitpool::cpu {

struct EtaKernels {
  void (*forward)(const float* theta, float* eta, int64_t count);
  void (*backward)(const float* grad, const float* theta, float* result, int64_t count);
};

extern const EtaKernels eta_kernels_baseline;
extern const EtaKernels eta_kernels_avx2;
extern const EtaKernels eta_kernels_avx512;

}  // namespace hitpool::cpu
