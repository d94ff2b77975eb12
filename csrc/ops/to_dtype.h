#pragma once
#include <c10/core/ScalarType.h>

#include "ops/dtype.h"

namespace hitpool {

// Of a tensor that the check of an op has let pass.
inline Dtype to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kDouble: return Dtype::float64;
    case at::kFloat: return Dtype::float32;
    case at::kBFloat16: return Dtype::bfloat16;
    default: return Dtype::float16;
  }
}

}  // namespace hitpool
