// solenoid_fit has no derivative, and says so where one is asked for, in reverse and forward mode.
#include "ops/solenoid_fit.h"

#include <torch/library.h>

#include "ops/autograd/derivatives.h"

namespace hitpool {
namespace {

void refuse_derivative(const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !torch::autograd::compute_requires_grad(tensor) && !has_tangent(tensor), "hitpool::solenoid_fit: expected ", name,
      " without derivative, got a tensor that requires one; hitpool.fits.SolenoidFit computes it in PyTorch");
}

std::tuple<at::Tensor, at::Tensor> solenoid_fit_autograd(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits) {
  refuse_derivative("hits", hits);
  refuse_derivative("logits", logits);
  at::AutoDispatchBelowADInplaceOrView guard;
  return solenoid_fit(hits, logits, valid, field, radiation_lengths, beam_spot, threshold, max_hits);
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) { m.impl("solenoid_fit", TORCH_FN(solenoid_fit_autograd)); }

}  // namespace hitpool
