#include "ops/weighted_pool.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "ops/autograd/derivatives.h"

namespace hitpool {
namespace {

using Valid = std::optional<at::Tensor>;

Valid optional(const at::Tensor& tensor) { return tensor.defined() ? std::optional(tensor) : std::nullopt; }

// The definition in torch's ops, which builds [..., N, M, D]. Maximum and minimum are read where the kernel found them.
// What has no influence is replaced before anything is computed from it: afterwards NaN would stay in the derivatives.
struct Definition {
  at::ScalarType type;
  at::Tensor zero;
  at::Tensor selected;  // [..., N, M]
  at::Tensor weight;    // [..., N, M, 1]
  at::Tensor total;     // [..., N, 1, 1] sum of the weights
  at::Tensor x;         // [..., N, M, D] of selected hits, else 0
  at::Tensor rows;      // [..., M + 1, D] features, and a row of zeros for no hit
  at::Tensor hit;       // [..., 2 N, D] the rows of maxima and minima

  Definition(
      const at::Tensor& logits, const at::Tensor& features, const Valid& valid, const at::Tensor& index,
      double threshold)
      : type(arithmetic_type(logits, features)), zero(at::zeros({}, logits.options().dtype(type))) {
    auto given = logits.to(type);
    if (valid.has_value()) given = at::where(valid->unsqueeze(-2), given, zero);
    const auto p = given.sigmoid();
    selected = p.detach().lt(at::scalar_tensor(threshold, p.options())).logical_not();  // NaN counts as selected
    if (valid.has_value()) selected = selected.logical_and(valid->unsqueeze(-2));
    weight = at::where(selected, p, zero).unsqueeze(-1);
    total = weight.sum(-2, /*keepdim=*/true);
    const auto values = features.to(type);
    x = at::where(selected.unsqueeze(-1), values.unsqueeze(-3), zero);
    auto row = values.sym_sizes().vec();
    row[row.size() - 2] = 1;
    rows = at::cat({values, at::zeros_symint(row, values.options())}, -2);
    hit = at::where(index.lt(0), features.sym_size(-2), index.to(at::kLong)).flatten(-3, -2);
  }

  at::Tensor sum() const { return (weight * x).sum(-2, /*keepdim=*/true); }          // [..., N, 1, D]
  at::Tensor factor() const { return total.clamp_min(kMinWeightSum).reciprocal(); }  // [..., N, 1, 1]
};

at::Tensor pool_by_definition(
    const at::Tensor& logits, const at::Tensor& features, const Valid& valid, const at::Tensor& index,
    double threshold) {
  const Definition d(logits, features, valid, index, threshold);
  const auto sum = d.sum();
  const auto extrema = d.rows.gather(-2, d.hit).reshape_symint(index.sym_sizes());
  const auto poison = d.total - d.total;  // 0, or NaN if a logit is
  return at::cat({sum * d.factor(), sum, extrema + poison}, -2).to(features.scalar_type());
}

variable_list gradients_by_definition(
    const at::Tensor& grad,  // [..., N, 4, D]
    const at::Tensor& logits, const at::Tensor& features, const Valid& valid, const at::Tensor& index,
    double threshold) {
  const Definition d(logits, features, valid, index, threshold);
  const auto g = grad.to(d.type);
  const auto grad_mean = g.narrow(-2, 0, 1), grad_sum = g.narrow(-2, 1, 1), grad_extrema = g.narrow(-2, 2, 2);
  const auto factor = d.factor();
  const auto weighted_grad = grad_mean * factor + grad_sum;  // [..., N, 1, D]
  const auto pull = at::where(  // [..., N, 1, 1] what the denominator of the mean takes
      d.total.lt(kMinWeightSum), d.zero, (grad_mean * d.sum()).sum(-1, /*keepdim=*/true) * factor * factor);
  const auto grad_weight = (weighted_grad * d.x).sum(-1, /*keepdim=*/true) - pull;  // [..., N, M, 1]
  const auto grad_logits = (grad_weight * d.weight * (1 - d.weight)).squeeze(-1);
  const auto by_weight = at::where(d.selected.unsqueeze(-1), d.weight * weighted_grad, d.zero).sum(-3);  // [..., M, D]
  const auto by_extrema = at::zeros_like(d.rows).scatter_add(-2, d.hit, grad_extrema.flatten(-3, -2));
  return {
      at::where(d.selected, grad_logits, d.zero).to(logits.scalar_type()),
      (by_weight + by_extrema.narrow_symint(-2, 0, features.sym_size(-2))).to(features.scalar_type())};
}

// Gradients of gradients_by_definition, contracted with `toward_logits` and `toward_features`: those of <tangent of the
// pool in that direction, grad>.
variable_list second_gradients(
    const at::Tensor& toward_logits, const at::Tensor& toward_features, const at::Tensor& grad,
    const at::Tensor& logits, const at::Tensor& features, const Valid& valid, const at::Tensor& index,
    double threshold) {
  const Definition d(logits, features, valid, index, threshold);
  const Definition toward(logits, toward_features.to(d.type), valid, index, threshold);
  const auto g = grad.to(d.type);
  const auto grad_mean = g.narrow(-2, 0, 1), grad_sum = g.narrow(-2, 1, 1);  // [..., N, 1, D]
  const auto over_hits = [](const at::Tensor& tensor) { return tensor.sum(-2, /*keepdim=*/true); };
  const auto over_features = [](const at::Tensor& tensor) { return tensor.sum(-1, /*keepdim=*/true); };

  const auto factor = d.factor();                                           // [..., N, 1, 1]
  const auto slope = at::where(d.total.lt(kMinWeightSum), d.zero, factor);  // 0 below the floor
  const auto mean = d.sum() * factor;                                       // [..., N, 1, D]
  const auto dp = d.weight * (1 - d.weight);                                // [..., N, M, 1] d weight / d logit
  const auto step = at::where(d.selected, toward_logits.to(d.type), d.zero).unsqueeze(-1);
  const auto dweight = dp * step;  // tangent of the weights
  const auto dtotal = over_hits(dweight);
  const auto dsum = over_hits(dweight * d.x + d.weight * toward.x);
  const auto dmean = factor * dsum - slope * mean * dtotal;
  const auto dextrema = toward.rows.gather(-2, d.hit).reshape_symint(index.sym_sizes());

  const auto weighted_grad = grad_sum + grad_mean * factor;
  const auto by_weight =  // [..., N, M, 1]
      over_features(weighted_grad * toward.x - slope * slope * dtotal * grad_mean * d.x) +
      slope * slope * over_features(grad_mean * (2 * mean * dtotal - dsum));
  const auto by_dweight = over_features(weighted_grad * d.x) - slope * over_features(grad_mean * mean);
  const auto grad_logits = dp * (by_weight + (1 - 2 * d.weight) * step * by_dweight);
  const auto grad_x = dweight * weighted_grad - d.weight * grad_mean * slope * slope * dtotal;  // [..., N, M, D]
  return {
      at::cat({dmean, dsum, dextrema}, -2).to(grad.scalar_type()),
      at::where(d.selected, grad_logits.squeeze(-1), d.zero).to(logits.scalar_type()),
      at::where(d.selected.unsqueeze(-1), grad_x, d.zero).sum(-3).to(features.scalar_type())};
}

struct WeightedPool {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    if (!grads[0].defined()) return variable_list(2);
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
    return second_gradients(
        or_zeros(grads[0], saved[1]), or_zeros(grads[1], saved[2]), saved[0], saved[1], saved[2], optional(saved[3]),
        saved[4], ctx->saved_data["threshold"].toDouble());
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
    std::tie(grad_logits, grad_features) =
        weighted_pool_backward(grad, index, sums, logits, features, valid, threshold);
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
