// The ops as C++ functions. They go through torch's dispatcher: autograd, autocast and tracing see them.
//
// Letters: N tracks, M hits, D features, [...] any leading (event) dimensions, the same ones in all arguments.
// Errors: c10::TypeError for a dtype or a layout, c10::ValueError for a shape, a device or a value; the message names op,
// argument, what was expected and what came.
#pragma once
#include <ATen/core/Tensor.h>
#include <hitpool/export.h>

#include <optional>

namespace hitpool {

// For each track, pool hit features over the hits that are assigned to it.
//
//   p = sigmoid(logits)          hit m is selected for track n if p[n, m] >= threshold and valid[m]
//   mean = sum(p x) / max(sum(p), 1e-8)     sum = sum(p x)     max, min = extrema of x, unweighted
//
// Without a selected hit all four are 0. What is not selected has no influence, NaN included. Arithmetic is in float64
// if one of the inputs is float64, else in float32.
//
//   logits     [..., N, M]  float64, float32, bfloat16 or float16
//   features   [..., M, D]  one of the same dtypes
//   valid      [..., M]     bool, false at padded hits; without it all hits are valid
//   threshold  in [0, 1]
//   returns    [..., N, 4, D]  mean, sum, max, min, in the dtype of the features
HITPOOL_EXPORT at::Tensor weighted_pool(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid = std::nullopt,
    double threshold = 0.1);

// eta = -log(tan(theta / 2)), elementwise; d eta / d theta = -1 / sin(theta).
//
// theta = 0 gives +inf, theta = pi rounded to the dtype gives -inf, outside [0, pi] and NaN give NaN.
//
//   theta    [...]  float64, float32, bfloat16 or float16
//   returns  [...]  in the dtype of theta
HITPOOL_EXPORT at::Tensor pseudorapidity(const at::Tensor& theta);

}  // namespace hitpool
