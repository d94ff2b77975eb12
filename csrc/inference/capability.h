// Which of the kernels, compiled once per instruction set, this processor gets. torch's own choice is not part of its
// stable ABI: this is the same rule, ATEN_CPU_CAPABILITY included.
#pragma once
#include <cstdlib>
#include <string_view>

namespace hitpool::inference {

enum class Capability { baseline, avx2, avx512 };

inline Capability capability() {
#if defined(__x86_64__)
  const char* const wanted = std::getenv("ATEN_CPU_CAPABILITY");
  if (wanted != nullptr) {
    const std::string_view name = wanted;
    if (name == "avx512") return Capability::avx512;
    if (name == "avx2") return Capability::avx2;
    if (name == "default") return Capability::baseline;
  }
  if (!__builtin_cpu_supports("fma")) return Capability::baseline;
  if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
    return Capability::avx512;
  }
  if (__builtin_cpu_supports("avx2")) return Capability::avx2;
#endif
  return Capability::baseline;
}

}  // namespace hitpool::inference

// HITPOOL_CHOOSE(kernels) is one of kernels_baseline, kernels_avx2, kernels_avx512.
#if defined(__x86_64__)
#define HITPOOL_CHOOSE(table)                                                                  \
  (hitpool::inference::capability() == hitpool::inference::Capability::avx512 ? table##_avx512 \
   : hitpool::inference::capability() == hitpool::inference::Capability::avx2 ? table##_avx2   \
                                                                              : table##_baseline)
#else
#define HITPOOL_CHOOSE(table) table##_baseline
#endif
