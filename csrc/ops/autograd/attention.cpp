#include "ops/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cmath>
#include <limits>

#include "ops/autograd/derivatives.h"

namespace hitpool {
namespace {

using Mask = std::optional<at::Tensor>;

// Mask of pairs for a window.
Mask all_pairs(const Mask& mask, int64_t window, bool wrap) {
  return window == 0 ? mask : std::optional(window_pairs(*mask, window, wrap));
}

Mask optional(const at::Tensor& tensor) { return tensor.defined() ? std::optional(tensor) : std::nullopt; }

// The definition in torch's ops, which builds [B, H, Q, K], and with a mask of its own for each query [B, H, Q, K, E].
// What has no influence is replaced before anything is computed from it: afterwards NaN would stay in the derivatives.
struct Definition {
  double scale;
  at::Tensor zero;
  at::Tensor allowed;            // [B, 1, 1 or Q, K], undefined: everything is
  at::Tensor asks;               // [B, 1, 1 or Q, 1] the query may attend to something
  at::Tensor asked;              // [B, 1, K, 1] the key may be attended to
  at::Tensor allowed_pair;       // [B, 1, Q, K, 1], undefined: the mask is the same for all queries
  at::Tensor query, key, value;  // [B, H, Q or K, E]
  at::Tensor weight;             // [B, H, Q, K]

  Definition(const at::Tensor& query_in, const at::Tensor& key_in, const at::Tensor& value_in, const Mask& mask)
      : scale(1 / std::sqrt(static_cast<double>(query_in.size(-1)))), zero(at::zeros({}, query_in.options())) {
    if (mask.has_value()) {
      allowed = mask->unsqueeze(1);
      asks = allowed.any(-1, /*keepdim=*/true);
      asked = allowed.any(-2, /*keepdim=*/true).mT();
      if (mask->sym_size(1) != 1) allowed_pair = allowed.unsqueeze(-1);
    }
    query = of_queries(query_in);
    key = of_keys(key_in);
    value = of_keys(value_in);
    auto score = scale * products(query, key);
    if (mask.has_value()) {
      const auto minus_infinity = at::scalar_tensor(-std::numeric_limits<double>::infinity(), score.options());
      score = at::where(allowed, score, at::where(asks, minus_infinity, zero));
    }
    // A softmax in elementary ops: gradients of tangents of torch's own fail.
    weight = (score - score.detach().logsumexp(-1, /*keepdim=*/true)).exp();
    weight = where_allowed(weight / weight.sum(-1, /*keepdim=*/true));
  }

  at::Tensor of_queries(const at::Tensor& tensor) const { return where(asks, tensor.transpose(1, 2)); }
  at::Tensor of_keys(const at::Tensor& tensor) const { return where(asked, tensor.transpose(1, 2)); }
  at::Tensor where_allowed(const at::Tensor& scores) const { return where(allowed, scores); }

  // The matrix products between queries [B, H, Q, E], keys [B, H, K, E] and scores [B, H, Q, K], in which a pair that
  // is not allowed counts as 0 even if it holds NaN.
  at::Tensor products(const at::Tensor& queries, const at::Tensor& keys) const {
    if (!allowed_pair.defined()) return queries.matmul(keys.mT());
    return (of_pairs(queries, 3) * of_pairs(keys, 2)).sum(-1);
  }
  at::Tensor sum_over_keys(const at::Tensor& scores, const at::Tensor& keys) const {
    if (!allowed_pair.defined()) return where_allowed(scores).matmul(keys);
    return (where_allowed(scores).unsqueeze(-1) * of_pairs(keys, 2)).sum(3);
  }
  at::Tensor sum_over_queries(const at::Tensor& scores, const at::Tensor& queries) const {
    if (!allowed_pair.defined()) return where(asked, where_allowed(scores).mT().matmul(queries));
    return (where_allowed(scores).unsqueeze(-1) * of_pairs(queries, 3)).sum(2);
  }

 private:
  at::Tensor where(const at::Tensor& mask, const at::Tensor& tensor) const {
    return mask.defined() ? at::where(mask, tensor, zero) : tensor;
  }
  at::Tensor of_pairs(const at::Tensor& tensor, int64_t dim) const {
    return where(allowed_pair, tensor.unsqueeze(dim));
  }
};

at::Tensor attention_by_definition(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask) {
  const Definition d(query, key, value, mask);
  return d.sum_over_keys(d.weight, d.value).transpose(1, 2);
}

variable_list gradients_by_definition(
    const at::Tensor& grad, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask) {
  const Definition d(query, key, value, mask);
  const auto g = d.of_queries(grad);                // [B, H, Q, E]
  const auto grad_weight = d.products(g, d.value);  // [B, H, Q, K]
  const auto grad_score = d.scale * d.weight * (grad_weight - (grad_weight * d.weight).sum(-1, /*keepdim=*/true));
  return {
      d.sum_over_keys(grad_score, d.key).transpose(1, 2), d.sum_over_queries(grad_score, d.query).transpose(1, 2),
      d.sum_over_queries(d.weight, g).transpose(1, 2)};
}

// Gradients of gradients_by_definition, contracted with `toward`: those of <tangent of the attention in that direction,
// grad>.
variable_list second_gradients(
    const variable_list& toward, const at::Tensor& grad, const at::Tensor& query, const at::Tensor& key,
    const at::Tensor& value, const Mask& mask) {
  const Definition d(query, key, value, mask);
  const auto over_keys = [](const at::Tensor& tensor) { return tensor.sum(-1, /*keepdim=*/true); };
  const auto dquery = d.of_queries(toward[0]), dkey = d.of_keys(toward[1]), dvalue = d.of_keys(toward[2]);
  const auto dscore = d.scale * (d.products(dquery, d.key) + d.products(d.query, dkey));  // [B, H, Q, K]
  const auto mean_dscore = over_keys(d.weight * dscore);
  const auto dweight = d.weight * (dscore - mean_dscore);
  const auto dout = d.sum_over_keys(dweight, d.value) + d.sum_over_keys(d.weight, dvalue);

  const auto g = d.of_queries(grad);
  const auto grad_weight = d.products(g, d.value);
  const auto mean_grad = over_keys(grad_weight * d.weight);
  const auto by_dscore = d.weight * (grad_weight - mean_grad);
  const auto by_weight = grad_weight * (dscore - mean_dscore) - mean_grad * dscore + d.products(g, dvalue);
  const auto by_score = d.weight * (by_weight - over_keys(d.weight * by_weight));
  return {
      dout.transpose(1, 2),
      (d.scale * (d.sum_over_keys(by_dscore, dkey) + d.sum_over_keys(by_score, d.key))).transpose(1, 2),
      (d.scale * (d.sum_over_queries(by_dscore, dquery) + d.sum_over_queries(by_score, d.query))).transpose(1, 2),
      d.sum_over_queries(dweight, g).transpose(1, 2)};
}

struct Attention {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    if (!grads[0].defined()) return variable_list(3);
    const auto saved = ctx->get_saved_variables();
    auto [query, key, value] = attention_backward(
        grads[0], saved[4], saved[5], saved[0], saved[1], saved[2], optional(saved[3]),
        ctx->saved_data["window"].toInt(), ctx->saved_data["wrap"].toBool());
    return {query, key, value};
  }
};

struct AttentionBackward {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    variable_list toward;
    for (int i = 0; i < 3; ++i) toward.push_back(or_zeros(grads[i], saved[i + 1]));
    const auto mask =
        all_pairs(optional(saved[4]), ctx->saved_data["window"].toInt(), ctx->saved_data["wrap"].toBool());
    return second_gradients(toward, saved[0], saved[1], saved[2], saved[3], mask);
  }
};

std::tuple<at::Tensor, at::Tensor> attention_with_log_sum_autograd(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask, int64_t window,
    bool wrap) {
  at::Tensor out, log_sum;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    std::tie(out, log_sum) = attention_with_log_sum(query, key, value, mask, window, wrap);
  }
  if (torch::autograd::compute_requires_grad(query, key, value)) {
    auto& data =
        record<Attention>({out}, {query, key, value}, {query, key, value, mask.value_or(at::Tensor()), out, log_sum})
            .saved_data;
    data["window"] = window;
    data["wrap"] = wrap;
  }
  if (has_tangent(query, key, value))
    set_tangent(out, attention_by_definition(query, key, value, all_pairs(mask, window, wrap)));
  return {std::move(out), std::move(log_sum)};
}

at::Tensor attention_autograd(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask, int64_t window,
    bool wrap) {
  if (torch::autograd::compute_requires_grad(query, key, value) || has_tangent(query, key, value)) {
    return std::get<0>(attention_with_log_sum_autograd(query, key, value, mask, window, wrap));
  }
  at::AutoDispatchBelowADInplaceOrView guard;
  return attention(query, key, value, mask, window, wrap);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_autograd(
    const at::Tensor& grad, const at::Tensor& out, const at::Tensor& log_sum, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const Mask& mask, int64_t window, bool wrap) {
  at::Tensor grad_query, grad_key, grad_value;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    std::tie(grad_query, grad_key, grad_value) =
        attention_backward(grad, out, log_sum, query, key, value, mask, window, wrap);
  }
  if (torch::autograd::compute_requires_grad(grad, query, key, value)) {
    auto& data = record<AttentionBackward>(
                     {grad_query, grad_key, grad_value}, {grad, query, key, value},
                     {grad, query, key, value, mask.value_or(at::Tensor())})
                     .saved_data;
    data["window"] = window;
    data["wrap"] = wrap;
  }
  if (has_tangent(grad, query, key, value)) {
    const auto definition = gradients_by_definition(grad, query, key, value, all_pairs(mask, window, wrap));
    set_tangent(grad_query, definition[0]);
    set_tangent(grad_key, definition[1]);
    set_tangent(grad_value, definition[2]);
  }
  return {std::move(grad_query), std::move(grad_key), std::move(grad_value)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) {
  m.impl("attention", TORCH_FN(attention_autograd));
  m.impl("_attention_with_log_sum", TORCH_FN(attention_with_log_sum_autograd));
  m.impl("_attention_backward", TORCH_FN(attention_backward_autograd));
}

}  // namespace hitpool
