// Compiled once per instruction set (HITPOOL_ISA = baseline, avx2, avx512). Everything but the table at the end has
// internal linkage, see weighted_pool_kernel.h. T is the type of the arithmetic: float, or double if logits or values
// are float64; L and F are the types that logits and values are stored in.
#include "ops/cpu/weighted_pool_kernel.h"

#include <type_traits>

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

void forward_any(const PoolInputs& in, void* pooled, int32_t* index, int64_t row_begin, int64_t row_end) {
  with_arithmetic_type(in, [&](auto t) {
    with_type<decltype(t)>(in.values_dtype, [&](auto f) {
      auto* out = static_cast<decltype(f)*>(pooled);
      if (index == nullptr) {
        forward_rows<decltype(t), false>(in, out, index, row_begin, row_end);
      } else {
        forward_rows<decltype(t), true>(in, out, index, row_begin, row_end);
      }
    });
  });
}

void backward_events_any(
    const PoolInputs& in, const void* grad, const int32_t* index, void* grad_logits, void* grad_values, bool streams,
    int64_t event_begin, int64_t event_end) {
  with_arithmetic_type(in, [&](auto t) {
    using T = decltype(t);
    with_type<T>(in.logits_dtype, [&](auto l) {
      backward_events<T>(
          in, static_cast<const T*>(grad), index, static_cast<decltype(l)*>(grad_logits), static_cast<T*>(grad_values),
          streams, event_begin, event_end);
    });
  });
}

void backward_logits_any(
    const PoolInputs& in, const void* grad, void* grad_logits, double* weight_sum, int64_t row_begin, int64_t row_end) {
  with_arithmetic_type(in, [&](auto t) {
    using T = decltype(t);
    with_type<T>(in.values_dtype, [&](auto f) {
      with_type<T>(in.logits_dtype, [&](auto l) {
        backward_logits<T>(
            in, static_cast<const decltype(f)*>(grad), static_cast<decltype(l)*>(grad_logits), weight_sum, row_begin,
            row_end);
      });
    });
  });
}

void backward_values_any(
    const PoolInputs& in, const void* grad, const int32_t* index, const double* weight_sum, void* grad_values,
    int64_t event, int64_t hit_begin, int64_t hit_end) {
  with_arithmetic_type(in, [&](auto t) {
    with_type<decltype(t)>(in.values_dtype, [&](auto f) {
      using F = decltype(f);
      backward_values<decltype(t)>(
          in, static_cast<const F*>(grad), index, weight_sum, static_cast<F*>(grad_values), event, hit_begin, hit_end);
    });
  });
}

}  // namespace

#define HITPOOL_JOIN(a, b) a##b
#define HITPOOL_TABLE(isa) HITPOOL_JOIN(kernels_, isa)
constinit const PoolKernels HITPOOL_TABLE(HITPOOL_ISA) = {
    forward_any, backward_events_any, backward_logits_any, backward_values_any};

}  // namespace hitpool::cpu
