// The CPU kernels of weighted_pool on plain pointers. They know no torch header: this interface is compiled once for
// each instruction set, and an inline function of a shared header would be merged across them by the linker.
#pragma once
#include <cstdint>

namespace hitpool::cpu {

enum class Dtype { float64, float32, bfloat16, float16 };

// The inputs of one call; all arrays are contiguous.
struct PoolInputs {
  int64_t tracks;          // N, per event
  int64_t hits;            // M
  int64_t features;        // D
  const void* logits;      // [B, N, M]
  const void* values;      // [B, M, D]
  const bool* valid;       // [B, M], or null: every hit is valid
  Dtype logits_dtype;
  Dtype values_dtype;
  double threshold;
  double min_weight_sum;   // floor under the denominator of the mean
};

// Work is cut into independent pieces: rows (one track of one event, b * N + n) or blocks (hits [begin, end) of one
// event). How it is cut does not change any result.
struct PoolKernels {
  // pooled [B, N, 4, D] in the dtype of values, index [B, N, 2, D] or null
  void (*forward)(const PoolInputs&, void* pooled, int32_t* index, int64_t row_begin, int64_t row_end);
  // grad [B, N, 4, D] in the dtype of values; writes grad_logits [B, N, M] and grad_values [B, M, D] of whole events.
  // Only if values have the type of the arithmetic; the results are those of the next two. `streams`: grad_values is
  // written past the caches.
  void (*backward_events)(
      const PoolInputs&, const void* grad, const int32_t* index, void* grad_logits, void* grad_values, bool streams,
      int64_t event_begin, int64_t event_end);
  // writes grad_logits and the sum of weights of each row [B, N]
  void (*backward_logits)(
      const PoolInputs&, const void* grad, void* grad_logits, double* weight_sum, int64_t row_begin, int64_t row_end);
  // writes grad_values [B, M, D] for the hits of one event
  void (*backward_values)(
      const PoolInputs&, const void* grad, const int32_t* index, const double* weight_sum, void* grad_values,
      int64_t event, int64_t hit_begin, int64_t hit_end);
};

extern const PoolKernels kernels_baseline;
extern const PoolKernels kernels_avx2;
extern const PoolKernels kernels_avx512;

}  // namespace hitpool::cpu
