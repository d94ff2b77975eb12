// Gradients of weighted_pool. The first backward is an op of its own; a backward that must itself be differentiable is
// the gradient of the definition, written in torch's ops (it builds [..., N, M, D]).
#include "ops/weighted_pool.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace hitpool {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The definition, except that maximum and minimum are read where forward found them.
at::Tensor differentiable_pool(
    const at::Tensor& logits,                // [..., N, M]
    const at::Tensor& features,              // [..., M, D]
    const std::optional<at::Tensor>& valid,  // [..., M]
    const at::Tensor& index,                 // [..., N, 2, D]
    double threshold) {
  const auto type = arithmetic_type(logits, features);
  const auto p = logits.to(type).sigmoid();                            // [..., N, M]
  auto selected = p.detach().lt(at::scalar_tensor(threshold, p.options())).logical_not();
  if (valid.has_value()) selected = selected & valid->unsqueeze(-2);
  const auto weight = at::where(selected, p, at::zeros({}, p.options())).unsqueeze(-1);  // [..., N, M, 1]
  auto sizes = index.sym_sizes().vec();
  sizes[sizes.size() - 2] = features.sym_size(-2);
  const auto x = features.to(type).unsqueeze(-3).expand_symint(sizes);  // [..., N, M, D]
  const auto selected_x = at::where(selected.unsqueeze(-1), x, at::zeros({}, x.options()));
  const auto sum = (weight * selected_x).sum(-2, /*keepdim=*/true);    // [..., N, 1, D]
  const auto mean = sum / weight.sum(-2, /*keepdim=*/true).clamp_min(kMinWeightSum);
  const auto extrema = at::where(  // [..., N, 2, D]
      index >= 0, x.gather(-2, index.clamp_min(0).to(at::kLong)), at::zeros({}, x.options()));
  return at::cat(std::vector<at::Tensor>{mean, sum, extrema}, -2).to(features.scalar_type());
}

class WeightedPool : public torch::autograd::Function<WeightedPool> {
 public:
  static at::Tensor forward(
      AutogradContext* ctx,
      const at::Tensor& logits,
      const at::Tensor& features,
      const std::optional<at::Tensor>& valid,
      double threshold) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [pooled, index, sums] = weighted_pool_for_backward(logits, features, valid, threshold);
    ctx->save_for_backward({logits, features, valid.value_or(at::Tensor()), index, sums});
    ctx->saved_data["threshold"] = threshold;
    return pooled;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto& logits = saved[0];
    const auto& features = saved[1];
    const auto valid = saved[2].defined() ? std::optional(saved[2]) : std::nullopt;
    const auto& index = saved[3];
    const auto& sums = saved[4];
    const double threshold = ctx->saved_data["threshold"].toDouble();
    const bool differentiable = at::GradMode::is_enabled() && features.sym_size(-2) != 0;
    if (!differentiable) {
      auto [grad_logits, grad_features] =
          weighted_pool_backward(grads[0], index, sums, logits, features, valid, threshold);
      return {grad_logits, grad_features, at::Tensor(), at::Tensor()};
    }
    variable_list inputs;
    for (const auto& input : {logits, features}) {
      if (input.requires_grad()) inputs.push_back(input);
    }
    const auto gradients = torch::autograd::grad(
        {differentiable_pool(logits, features, valid, index, threshold)}, inputs, {grads[0]},
        /*retain_graph=*/true, /*create_graph=*/true);
    auto next = gradients.begin();
    const auto grad_logits = logits.requires_grad() ? *next++ : at::Tensor();
    const auto grad_features = features.requires_grad() ? *next : at::Tensor();
    return {grad_logits, grad_features, at::Tensor(), at::Tensor()};
  }
};

at::Tensor weighted_pool_autograd(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  if (at::GradMode::is_enabled() && (logits.requires_grad() || features.requires_grad())) {
    return WeightedPool::apply(logits, features, valid, threshold);
  }
  at::AutoDispatchBelowADInplaceOrView guard;
  return weighted_pool(logits, features, valid, threshold);
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) {
  m.impl("weighted_pool", TORCH_FN(weighted_pool_autograd));
}

}  // namespace hitpool
