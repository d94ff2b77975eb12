// Which of the kernels, compiled once per instruction set, this processor gets. torch's own choice is not part of its
// stable ABI: this is the same rule, and ATEN_CPU_CAPABILITY (default, avx2) lowers it.
#pragma once
#include <cstdlib>
#include <string_view>

namespace hitpool::inference {

enum class Capability { baseline, avx2, avx512 };

inline Capability capability() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Capability::baseline;
  const char* const variable = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string_view most = variable != nullptr ? variable : "";
  if (most == "default") return Capability::baseline;
  const bool has_avx512 =
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return has_avx512 && most != "avx2" ? Capability::avx512 : Capability::avx2;
#else
  return Capability::baseline;
#endif
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
