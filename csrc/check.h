// Errors that name the op, the argument, what was expected and what came.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/Exception.h>

#include <limits>

// HITPOOL_CHECK_VALUE(logits.dim() >= 2, "weighted_pool", "logits", "shape [..., N, M]", logits.sym_sizes());
#define HITPOOL_CHECK_VALUE(condition, op, argument, expected, got) \
  TORCH_CHECK_VALUE(condition, "hitpool::", op, ": expected ", argument, " with ", expected, ", got ", got)
#define HITPOOL_CHECK_TYPE(condition, op, argument, expected, got) \
  TORCH_CHECK_TYPE(condition, "hitpool::", op, ": expected ", argument, " with ", expected, ", got ", got)

namespace hitpool {

// Is it true? What cannot be decided while a graph is traced (sizes that depend on data) is checked when it runs.
inline bool holds(const c10::SymBool& condition) { return condition.expect_true(__FILE__, __LINE__); }

inline bool are_equal(c10::SymIntArrayRef a, c10::SymIntArrayRef b) {
  bool equal = a.size() == b.size();
  for (size_t i = 0; equal && i < a.size(); ++i) equal = holds(a[i].sym_eq(b[i]));
  return equal;
}

inline void check_float(const char* op, const char* name, const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  HITPOOL_CHECK_TYPE(
      type == at::kDouble || type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, op, name,
      "dtype float64, float32, bfloat16 or float16", type);
}

// check_shape("_attention_backward", "log_sum", log_sum, "[B, H, Q]", {batch, heads, queries});
inline void check_shape(
    const char* op, const char* name, const at::Tensor& tensor, const char* letters, c10::SymIntArrayRef shape) {
  HITPOOL_CHECK_VALUE(
      are_equal(tensor.sym_sizes(), shape), op, name, c10::str("shape ", letters, " = ", shape), tensor.sym_sizes());
}

inline void check_device(
    const char* op, const char* name, const at::Tensor& tensor, const char* other_name, const at::Tensor& other) {
  HITPOOL_CHECK_VALUE(
      tensor.device() == other.device(), op, name, c10::str("the device of ", other_name, ", ", other.device()),
      tensor.device());
}

// Kernels number hits and keys in 32 bits. A size that tracing leaves open is checked when the graph runs.
inline void check_count(const char* op, const char* name, const char* what, const c10::SymInt& count) {
  const auto known = count.maybe_as_int();
  HITPOOL_CHECK_VALUE(
      !known.has_value() || *known <= std::numeric_limits<int32_t>::max(), op, name,
      c10::str("at most 2^31 - 1 ", what, " per event"), count);
}

}  // namespace hitpool
