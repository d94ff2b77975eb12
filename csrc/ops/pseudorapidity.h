// pseudorapidity: eta = -log(tan(theta / 2)), elementwise; d eta / d theta = -1 / sin(theta).
//
// theta = 0 gives +inf, theta = pi rounded to the type gives -inf, outside [0, pi] and NaN give NaN.
#pragma once
#include <ATen/core/Tensor.h>

namespace hitpool {

// Throw unless the arguments are floating-point tensors that fit together.
void check_pseudorapidity(const at::Tensor& theta);
void check_pseudorapidity_backward(const at::Tensor& grad, const at::Tensor& theta);

// Calls through the dispatcher.
at::Tensor pseudorapidity(const at::Tensor& theta);
at::Tensor pseudorapidity_backward(const at::Tensor& grad, const at::Tensor& theta);

}  // namespace hitpool
