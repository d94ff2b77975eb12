#include "ops/pseudorapidity.h"

#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace hitpool {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class Pseudorapidity : public torch::autograd::Function<Pseudorapidity> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& theta) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({theta});
    return pseudorapidity(theta);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto theta = ctx->get_saved_variables()[0];
    if (at::GradMode::is_enabled()) return {-grads[0] / theta.sin()};  // itself differentiable
    return {pseudorapidity_backward(grads[0], theta)};
  }
};

at::Tensor pseudorapidity_autograd(const at::Tensor& theta) {
  if (at::GradMode::is_enabled() && theta.requires_grad()) return Pseudorapidity::apply(theta);
  at::AutoDispatchBelowADInplaceOrView guard;
  return pseudorapidity(theta);
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) {
  m.impl("pseudorapidity", TORCH_FN(pseudorapidity_autograd));
}

}  // namespace hitpool
