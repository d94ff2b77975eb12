#include "ops/weighted_pool.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "ops/autograd/derivatives.h"

namespace hitpool {
namespace {

using Valid = std::optional<at::Tensor>;

Valid optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

// Builds [..., N, M, D]. Maximum and minimum are read where the kernel found them. What has no influence is replaced
// before anything is computed from it: afterwards NaN would stay in the derivatives.
at::Tensor pool_by_definition(
    const at::Tensor& logits,    // [..., N, M]
    const at::Tensor& features,  // [..., M, D]
    const Valid& valid,          // [..., M]
    const at::Tensor& index,     // [..., N, 2, D]
    double threshold) {
  const auto type = arithmetic_type(logits, features);
  const auto zero = at::zeros({}, logits.options().dtype(type));
  auto given = logits.to(type);
  if (valid.has_value()) given = at::where(valid->unsqueeze(-2), given, zero);
  const auto p = given.sigmoid();
  auto selected = p.detach().lt(at::scalar_tensor(threshold, p.options())).logical_not();  // NaN counts as selected
  if (valid.has_value()) selected = selected.logical_and(valid->unsqueeze(-2));
  const auto weight = at::where(selected, p, zero).unsqueeze(-1);  // [..., N, M, 1]
  const auto weight_sum = weight.sum(-2, /*keepdim=*/true);        // [..., N, 1, 1]

  const auto x = features.to(type);
  const auto selected_x = at::where(selected.unsqueeze(-1), x.unsqueeze(-3), zero);  // [..., N, M, D]
  const auto sum = (weight * selected_x).sum(-2, /*keepdim=*/true);
  const auto mean = sum / weight_sum.clamp_min(kMinWeightSum);

  auto row = x.sym_sizes().vec();
  row[row.size() - 2] = 1;
  const auto rows = at::cat({x, at::zeros_symint(row, x.options())}, -2);  // [..., M + 1, D], the last for no hit
  const auto hit = at::where(index.lt(0), features.sym_size(-2), index.to(at::kLong)).flatten(-3, -2);  // [..., 2 N, D]
  const auto extrema = rows.gather(-2, hit).reshape_symint(index.sym_sizes());
  const auto poison = (weight_sum - weight_sum).detach();  // 0, or NaN if a logit is
  return at::cat({mean, sum, extrema + poison}, -2).to(features.scalar_type());
}

variable_list gradients_by_definition(
    const at::Tensor& grad, const at::Tensor& logits, const at::Tensor& features, const Valid& valid,
    const at::Tensor& index, double threshold) {
  const auto pool = [&](const variable_list& in) {
    return variable_list{pool_by_definition(in[0], in[1], valid, index, threshold)};
  };
  return pull_back(pool, {logits, features}, {grad});
}

struct WeightedPool {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [grad_logits, grad_features] = weighted_pool_backward(
        grads[0], saved[3], saved[4], saved[0], saved[1], optional(saved[2]), ctx->saved_data["threshold"].toDouble());
    return {grad_logits, grad_features};
  }
};

struct WeightedPoolBackward {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto gradients = [&](const variable_list& in) {
      return gradients_by_definition(
          in[0], in[1], in[2], optional(saved[3]), saved[4], ctx->saved_data["threshold"].toDouble());
    };
    return pull_back(gradients, {saved[0], saved[1], saved[2]}, grads);
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> weighted_pool_for_backward_autograd(
    const at::Tensor& logits, const at::Tensor& features, const Valid& valid, double threshold) {
  at::Tensor pooled, index, sums;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    std::tie(pooled, index, sums) = weighted_pool_for_backward(logits, features, valid, threshold);
  }
  if (torch::autograd::compute_requires_grad(logits, features)) {
    record<WeightedPool>({pooled}, {logits, features}, {logits, features, valid.value_or(at::Tensor()), index, sums})
        .saved_data["threshold"] = threshold;
  }
  if (has_tangent(logits, features)) {
    set_tangent(pooled, pool_by_definition(logits, features, valid, index, threshold));
  }
  return {std::move(pooled), std::move(index), std::move(sums)};
}

at::Tensor weighted_pool_autograd(
    const at::Tensor& logits, const at::Tensor& features, const Valid& valid, double threshold) {
  if (torch::autograd::compute_requires_grad(logits, features) || has_tangent(logits, features)) {
    return std::get<0>(weighted_pool_for_backward_autograd(logits, features, valid, threshold));
  }
  at::AutoDispatchBelowADInplaceOrView guard;
  return weighted_pool(logits, features, valid, threshold);
}

std::tuple<at::Tensor, at::Tensor> weighted_pool_backward_autograd(
    const at::Tensor& grad, const at::Tensor& index, const at::Tensor& sums, const at::Tensor& logits,
    const at::Tensor& features, const Valid& valid, double threshold) {
  at::Tensor grad_logits, grad_features;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    std::tie(grad_logits, grad_features) = weighted_pool_backward(grad, index, sums, logits, features, valid, threshold);
  }
  if (torch::autograd::compute_requires_grad(grad, logits, features)) {
    record<WeightedPoolBackward>(
        {grad_logits, grad_features}, {grad, logits, features},
        {grad, logits, features, valid.value_or(at::Tensor()), index})
        .saved_data["threshold"] = threshold;
  }
  if (has_tangent(grad, logits, features)) {
    const auto definition = gradients_by_definition(grad, logits, features, valid, index, threshold);
    set_tangent(grad_logits, definition[0]);
    set_tangent(grad_features, definition[1]);
  }
  return {std::move(grad_logits), std::move(grad_features)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) {
  m.impl("weighted_pool", TORCH_FN(weighted_pool_autograd));
  m.impl("_weighted_pool_for_backward", TORCH_FN(weighted_pool_for_backward_autograd));
  m.impl("_weighted_pool_backward", TORCH_FN(weighted_pool_backward_autograd));
}

}  // namespace hitpool
