// The kernels of attention on plain pointers, compiled once for each instruction set like those of weighted_pool (see
// weighted_pool_kernel.h for why they know no torch header).
#pragma once
#include <cstdint>

namespace hitpool::cpu {

constexpr int64_t kAttentionLanes = 16;  // the most that any instruction set has

// Distances between events, positions and heads; the features of a head are contiguous.
struct AttentionArray {
  const void* data;
  int64_t event, position, head;
};

struct AttentionInputs {
  int64_t queries, keys, heads, size;  // Q, K, H, E
  AttentionArray query, key, value;
  const bool* mask;                // null: everything is allowed
  int64_t mask_event, mask_query;  // distances; mask_query = 0: one row for all queries of an event
  int64_t window;                  // 0: none; else queries are the keys, mask_query is 0, and a hit sees its neighbours
  bool wrap;
};

// The most keys that a block of queries may attend to.
constexpr int64_t attention_block_keys(const AttentionInputs& in) {
  const int64_t near = in.window + kAttentionLanes;
  return in.window != 0 && near < in.keys ? near : in.keys;
}

// Scratch memory of one task, in numbers of the type of the arithmetic; lists hold two int32 per key.
constexpr int64_t attention_forward_scratch(const AttentionInputs& in) {
  const bool pairs = in.window != 0 || (in.mask != nullptr && in.mask_query != 0);
  return pairs ? attention_block_keys(in) * kAttentionLanes : 0;
}
constexpr int64_t attention_padded(int64_t keys) {
  return (keys + kAttentionLanes - 1) / kAttentionLanes * kAttentionLanes;
}
constexpr int64_t attention_backward_scratch(const AttentionInputs& in) {
  return (4 * in.size + 1) * attention_padded(in.keys);
}

struct AttentionKernel {
  // One block of at most 16 queries of one event, all heads: out [B, Q, H, E], log_sum [B, H, Q] or null.
  void (*forward)(
      const AttentionInputs&, void* out, void* log_sum, int64_t event, int64_t first_query, int32_t* list,
      void* scratch);
  // One head of one event: gradients [B, Q or K, H, E], each written once.
  void (*backward)(
      const AttentionInputs&, const void* grad, const void* out, const void* log_sum, void* grad_query, void* grad_key,
      void* grad_value, int64_t event, int64_t head, int32_t* list, void* scratch);
};

// By size of a head.
struct AttentionSizes {
  AttentionKernel size4, size8;
};

struct AttentionKernels {
  AttentionSizes float64, float32;
};

extern const AttentionKernels attention_kernels_baseline;
extern const AttentionKernels attention_kernels_avx2;
extern const AttentionKernels attention_kernels_avx512;

}  // namespace hitpool::cpu
