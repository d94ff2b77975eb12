// toroid_fit has no derivative, and says so where one is asked for, in reverse and forward mode.
#include "ops/toroid_fit.h"

#include <torch/library.h>

#include "ops/autograd/derivatives.h"

namespace hitpool {
namespace {

void refuse_derivative(const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !torch::autograd::compute_requires_grad(tensor) && !has_tangent(tensor), "hitpool::toroid_fit: expected ", name,
      " without derivative, got a tensor that requires one; hitpool.fits.ToroidFit computes it in PyTorch");
}

std::tuple<at::Tensor, at::Tensor> toroid_fit_autograd(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table, double threshold,
    int64_t max_hits) {
  refuse_derivative("hits", hits);
  refuse_derivative("logits", logits);
  for (const auto& tensor : table) refuse_derivative("table", tensor);
  at::AutoDispatchBelowADInplaceOrView guard;
  return toroid_fit(hits, logits, valid, geometry, field, table, threshold, max_hits);
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) { m.impl("toroid_fit", TORCH_FN(toroid_fit_autograd)); }

}  // namespace hitpool
