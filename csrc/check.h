// Errors that name the op, the argument, what was expected and what came.
#pragma once
#include <c10/util/Exception.h>

// HITPOOL_CHECK_VALUE(logits.dim() >= 2, "weighted_pool", "logits", "shape [..., N, M]", logits.sym_sizes());
#define HITPOOL_CHECK_VALUE(condition, op, argument, expected, got) \
  TORCH_CHECK_VALUE(condition, "hitpool::", op, ": expected ", argument, " with ", expected, ", got ", got)
#define HITPOOL_CHECK_TYPE(condition, op, argument, expected, got) \
  TORCH_CHECK_TYPE(condition, "hitpool::", op, ": expected ", argument, " with ", expected, ", got ", got)
