// pseudorapidity: hitpool/ops.h says what it computes.
#pragma once
#include <ATen/core/Tensor.h>
#include <hitpool/ops.h>

namespace hitpool {

// Throw unless the arguments are floating-point tensors that fit together.
void check_pseudorapidity(const at::Tensor& theta);
void check_pseudorapidity_backward(const at::Tensor& grad, const at::Tensor& theta);

// Calls through the dispatcher.
at::Tensor pseudorapidity_backward(const at::Tensor& grad, const at::Tensor& theta);

}  // namespace hitpool
