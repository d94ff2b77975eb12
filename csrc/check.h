// Errors that name the op, the argument, what was expected and what came.
#pragma once
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/Exception.h>

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

}  // namespace hitpool
