// Compiled once per instruction set (HITPOOL_ISA = baseline, avx2, avx512). Everything but the table at the end has
// internal linkage, see weighted_pool_kernel.h. T is the type of the arithmetic: float, or double if logits or values
// are float64; L and F are the types that logits and values are stored in.
#include "ops/cpu/weighted_pool_kernel.h"

#include <type_traits>

#include "ops/cpu/instruction_set.h"
#include "ops/cpu/pool_backward.h"
#include "ops/cpu/pool_forward.h"
#include "ops/cpu/scalar.h"

namespace hitpool::cpu {
namespace {

// ---- from run-time dtypes to templates ----

template <class T, class Body>
void with_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::float64:
      if constexpr (std::is_same_v<T, double>) body(double{});
      return;  // float64 anywhere makes T double
    case Dtype::float32: return body(float{});
    case Dtype::bfloat16: return body(BFloat16{});
    case Dtype::float16: return body(Float16{});
  }
}

template <class Body>
void with_arithmetic_type(const PoolInputs& in, Body&& body) {
  if (in.logits_dtype == Dtype::float64 || in.values_dtype == Dtype::float64) {
    body(double{});
  } else {
    body(float{});
  }
}

void forward_any(const PoolInputs& in, const PoolOutputs& out, int64_t begin, int64_t end) {
  with_arithmetic_type(in, [&](auto t) {
    using T = decltype(t);
    with_type<T>(in.values_dtype, [&](auto f) {
      if (out.sums == nullptr) {
        forward_rows<T, false, decltype(f)>(in, out, begin, end);
      } else {
        forward_rows<T, true, decltype(f)>(in, out, begin, end);
      }
    });
  });
}

void backward_any(const PoolInputs& in, const PoolGradients& gradients, int64_t begin, int64_t end) {
  with_arithmetic_type(in, [&](auto t) {
    using T = decltype(t);
    with_type<T>(in.values_dtype, [&](auto f) {
      with_type<T>(in.logits_dtype, [&](auto l) {
        backward_blocks<T, decltype(f), decltype(l)>(in, gradients, begin, end);
      });
    });
  });
}

}  // namespace

constinit const PoolKernels HITPOOL_TABLE(kernels) = {forward_any, backward_any};

}  // namespace hitpool::cpu
