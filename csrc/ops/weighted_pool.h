// weighted_pool: hitpool/ops.h says what it computes. Ties in max and min belong to the hit with the lowest index.
// Letters: N tracks, M hits, D features, [...] any leading (event) dimensions.
#pragma once
#include <ATen/core/Tensor.h>
#include <hitpool/ops.h>

#include <optional>
#include <tuple>

#include "ops/pool_inputs.h"

namespace hitpool {

// Throws unless the arguments of the forward op fit together. Holds for symbolic sizes too.
void check_weighted_pool(
    const at::Tensor& logits,                // [..., N, M]
    const at::Tensor& features,              // [..., M, D]
    const std::optional<at::Tensor>& valid,  // [..., M]
    double threshold);

// The same for the backward op.
void check_weighted_pool_backward(
    const at::Tensor& grad,   // [..., N, 4, D]
    const at::Tensor& index,  // [..., N, 2, D]
    const at::Tensor& sums,   // [..., N, D + 1]
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold);

// The type of the arithmetic: float64 if one of them is, else float32.
at::ScalarType arithmetic_type(const at::Tensor& logits, const at::Tensor& features);

// Uninitialised results: pooled features, which hit the maximum and the minimum came from (-1: none), and sum(p x) and
// sum(p) in the type of the arithmetic.
at::Tensor empty_pooled(const at::Tensor& logits, const at::Tensor& features);  // [..., N, 4, D]
at::Tensor empty_index(const at::Tensor& logits, const at::Tensor& features);   // [..., N, 2, D] int32
at::Tensor empty_sums(const at::Tensor& logits, const at::Tensor& features);    // [..., N, D + 1]

// One call, for the kernels of any device: contiguous inputs, whose copies it keeps alive.
struct PoolCall {
  at::Tensor logits, values, valid;
  PoolInputs inputs;

  PoolCall(
      const at::Tensor& logits_in, const at::Tensor& features, const std::optional<at::Tensor>& valid_in,
      double threshold);
};

// Calls through the dispatcher.
std::tuple<at::Tensor, at::Tensor, at::Tensor> weighted_pool_for_backward(  // pooled, index, sums
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold);
std::tuple<at::Tensor, at::Tensor> weighted_pool_backward(
    const at::Tensor& grad,   // [..., N, 4, D]
    const at::Tensor& index,  // [..., N, 2, D]
    const at::Tensor& sums,   // [..., N, D + 1]
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold);

}  // namespace hitpool
