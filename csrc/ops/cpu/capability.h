// Which of the kernels, compiled once per instruction set, this processor gets. The choice is torch's own, so that
// ATEN_CPU_CAPABILITY holds here too.
#pragma once
#include <ATen/Version.h>

#include <string>

// HITPOOL_CHOOSE(kernels) is one of kernels_baseline, kernels_avx2, kernels_avx512.
#if defined(__x86_64__)
#define HITPOOL_CHOOSE(table)                                         \
  (at::get_cpu_capability() == std::string("AVX512") ? table##_avx512 \
   : at::get_cpu_capability() == std::string("AVX2") ? table##_avx2   \
                                                     : table##_baseline)
#else
#define HITPOOL_CHOOSE(table) table##_baseline
#endif
