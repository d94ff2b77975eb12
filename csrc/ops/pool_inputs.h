// The inputs of weighted_pool as the kernels of both devices see them: plain pointers and no torch header.
#pragma once
#include <cstdint>

#include "ops/dtype.h"

namespace hitpool {

inline constexpr double kMinWeightSum = 1e-8;  // keeps the mean finite if all weights underflow

// One call; all arrays are contiguous.
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

}  // namespace hitpool
