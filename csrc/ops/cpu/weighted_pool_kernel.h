// The CPU kernels of weighted_pool on plain pointers. They know no torch header: this interface is compiled once for
// each instruction set, and an inline function of a shared header would be merged across them by the linker.
#pragma once
#include <cstdint>

#include "ops/pool_inputs.h"

namespace hitpool::cpu {

// What forward writes. Index and sums are what backward needs, null if no gradient is wanted.
struct PoolOutputs {
  void* pooled;    // [B, N, 4, D] in the dtype of values
  int32_t* index;  // [B, N, 2, D] the hits of the maxima and minima
  void* sums;      // [B, N, D + 1] sum(p x) and sum(p), in the type of the arithmetic
};

// What backward reads besides the inputs, and writes; gradients have the dtypes of what they are gradients of.
struct PoolGradients {
  const void* grad_pooled;  // [B, N, 4, D]
  const int32_t* index;     // [B, N, 2, D]
  const void* sums;         // [B, N, D + 1]
  void* grad_logits;        // [B, N, M]
  void* grad_values;        // [B, M, D]
  int64_t block;            // hits that are worked on together
};

// The arithmetic is in float64 if logits or values are float64, else in float32. Work is cut into independent pieces,
// [begin, end) of which are done by a call: how it is cut does not change any result.
struct PoolKernels {
  // Pieces are rows, one track of one event each: b * N + n.
  void (*forward)(const PoolInputs&, const PoolOutputs&, int64_t begin, int64_t end);
  // Pieces are blocks of hits: b * ceil(M / block) + number of the block. N and D are not 0.
  void (*backward)(const PoolInputs&, const PoolGradients&, int64_t begin, int64_t end);
};

extern const PoolKernels kernels_baseline;
extern const PoolKernels kernels_avx2;
extern const PoolKernels kernels_avx512;

}  // namespace hitpool::cpu
