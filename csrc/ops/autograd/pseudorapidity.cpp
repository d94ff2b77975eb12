#include "ops/pseudorapidity.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <torch/library.h>

#include <limits>

#include "ops/autograd/derivatives.h"
#include "ops/pseudorapidity_formula.h"

namespace hitpool {
namespace {

at::ScalarType arithmetic_type(const at::Tensor& theta) {
  return theta.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// sin(theta) from the angle to the nearer half of the beam axis: +0 at both ends, NaN outside.
at::Tensor sine(const at::Tensor& theta) {
  const auto type = arithmetic_type(theta);
  const auto t = theta.to(type);
  const auto number = [&](double value, at::ScalarType as) { return at::scalar_tensor(value, t.options().dtype(as)); };
  const auto pi_of_type = number(kPiHigh, theta.scalar_type()).to(type);
  const auto pi = number(kPiHigh, type);
  const auto rest = number(type == at::kDouble ? AngleFormat<double>::pi_low : AngleFormat<float>::pi_low, type);
  const auto far = at::where(t.eq(pi_of_type), pi_of_type - t, (pi - t) + rest);
  const auto x = at::where(t.gt(pi / 2), far, t + 0);  // + 0: no -0
  const auto nan = number(std::numeric_limits<double>::quiet_NaN(), type);
  return x.sin() * at::where(x.ge(0), number(1, type), nan);
}

at::Tensor gradient_by_definition(const at::Tensor& grad, const at::Tensor& theta) {
  return (-grad.to(arithmetic_type(theta)) / sine(theta)).to(theta.scalar_type());
}

struct Pseudorapidity {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    if (!grads[0].defined()) return variable_list(1);
    return {pseudorapidity_backward(grads[0], ctx->get_saved_variables()[0])};
  }
};

struct PseudorapidityBackward {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    if (!grads[0].defined()) return variable_list(2);
    const auto saved = ctx->get_saved_variables();
    const auto &grad = saved[0], &theta = saved[1];
    const auto type = arithmetic_type(theta);
    const auto slope = theta.to(type).cos() / sine(theta).square();  // of -1 / sin(theta)
    return {
        pseudorapidity_backward(grads[0], theta), (grads[0].to(type) * grad.to(type) * slope).to(theta.scalar_type())};
  }
};

at::Tensor pseudorapidity_autograd(const at::Tensor& theta) {
  at::Tensor eta;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    eta = pseudorapidity(theta);
  }
  if (torch::autograd::compute_requires_grad(theta)) record<Pseudorapidity>({eta}, {theta}, {theta});
  if (has_tangent(theta)) {
    const auto tangent = pseudorapidity_backward(theta._fw_grad(/*level=*/0), theta._fw_primal(/*level=*/0));
    eta._set_fw_grad(tangent, /*level=*/0, /*is_inplace_op=*/false);
  }
  return eta;
}

at::Tensor pseudorapidity_backward_autograd(const at::Tensor& grad, const at::Tensor& theta) {
  at::Tensor gradient;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    gradient = pseudorapidity_backward(grad, theta);
  }
  if (torch::autograd::compute_requires_grad(grad, theta)) {
    record<PseudorapidityBackward>({gradient}, {grad, theta}, {grad, theta});
  }
  if (has_tangent(grad, theta)) set_tangent(gradient, gradient_by_definition(grad, theta));
  return gradient;
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) {
  m.impl("pseudorapidity", TORCH_FN(pseudorapidity_autograd));
  m.impl("_pseudorapidity_backward", TORCH_FN(pseudorapidity_backward_autograd));
}

}  // namespace hitpool
