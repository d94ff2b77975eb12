#include "ops/pseudorapidity.h"

#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "check.h"
#include "dispatch.h"

namespace hitpool {

void check_pseudorapidity(const at::Tensor& theta) { check_float("pseudorapidity", "theta", theta); }

void check_pseudorapidity_backward(const at::Tensor& grad, const at::Tensor& theta) {
  constexpr const char* op = "_pseudorapidity_backward";
  check_pseudorapidity(theta);
  check_float(op, "grad", grad);
  HITPOOL_CHECK_VALUE(
      are_equal(grad.sym_sizes(), theta.sym_sizes()), op, "grad", c10::str("the shape of theta, ", theta.sym_sizes()),
      grad.sym_sizes());
  check_device(op, "grad", grad, "theta", theta);
}

at::Tensor pseudorapidity(const at::Tensor& theta) {
  static const auto op = find_op<decltype(pseudorapidity)>("hitpool::pseudorapidity");
  return op.call(theta);
}

at::Tensor pseudorapidity_backward(const at::Tensor& grad, const at::Tensor& theta) {
  static const auto op = find_op<decltype(pseudorapidity_backward)>("hitpool::_pseudorapidity_backward");
  return op.call(grad, theta);
}

namespace {

at::Tensor pseudorapidity_meta(const at::Tensor& theta) {
  check_pseudorapidity(theta);
  return at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
}

at::Tensor pseudorapidity_backward_meta(const at::Tensor& grad, const at::Tensor& theta) {
  check_pseudorapidity_backward(grad, theta);
  return at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hitpool, m) {
  m.def("pseudorapidity(Tensor theta) -> Tensor", {at::Tag::pt2_compliant_tag});
  m.def("_pseudorapidity_backward(Tensor grad, Tensor theta) -> Tensor", {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(hitpool, Meta, m) {
  m.impl("pseudorapidity", TORCH_FN(pseudorapidity_meta));
  m.impl("_pseudorapidity_backward", TORCH_FN(pseudorapidity_backward_meta));
}

}  // namespace hitpool
