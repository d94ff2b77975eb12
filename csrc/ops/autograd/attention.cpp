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

Mask optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

// Builds [B, H, Q, K]. What has no influence is replaced before anything is computed from it: afterwards NaN would stay
// in the derivatives.
at::Tensor attention_by_definition(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask) {
  const double scale = 1 / std::sqrt(static_cast<double>(query.size(-1)));
  if (!mask.has_value()) {
    const auto score = (query * scale).transpose(1, 2).matmul(key.permute({0, 2, 3, 1}));  // [B, H, Q, K]
    return score.softmax(-1).matmul(value.transpose(1, 2)).transpose(1, 2);
  }
  const auto zero = at::zeros({}, query.options());
  const auto minus_infinity = at::scalar_tensor(-std::numeric_limits<double>::infinity(), query.options());
  const auto asks = mask->any(-1).unsqueeze(-1).unsqueeze(-1);   // [B, 1 or Q, 1, 1] the query may attend to something
  const auto asked = mask->any(-2).unsqueeze(-1).unsqueeze(-1);  // [B, K, 1, 1] the key may be attended to
  const auto q = at::where(asks, query * scale, zero);
  const auto k = at::where(asked, key, zero);
  const auto v = at::where(asked, value, zero);
  auto score = q.transpose(1, 2).matmul(k.permute({0, 2, 3, 1}));
  score = at::where(mask->unsqueeze(1), score, at::where(asks.transpose(1, 2), minus_infinity, zero));
  const auto weight = at::where(asks.transpose(1, 2), score.softmax(-1), zero);
  return weight.matmul(v.transpose(1, 2)).transpose(1, 2);
}

variable_list gradients_by_definition(
    const at::Tensor& grad, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask) {
  const auto attend = [&](const variable_list& in) {
    return variable_list{attention_by_definition(in[0], in[1], in[2], mask)};
  };
  return pull_back(attend, {query, key, value}, {grad});
}

struct Attention {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    auto [query, key, value] =
        attention_backward(grads[0], saved[4], saved[5], saved[0], saved[1], saved[2], optional(saved[3]));
    return {query, key, value};
  }
};

struct AttentionBackward {
  static constexpr bool is_traceable = false;

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto gradients = [&](const variable_list& in) {
      return gradients_by_definition(in[0], in[1], in[2], in[3], optional(saved[4]));
    };
    return pull_back(gradients, {saved[0], saved[1], saved[2], saved[3]}, grads);
  }
};

std::tuple<at::Tensor, at::Tensor> attention_with_log_sum_autograd(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask) {
  at::Tensor out, log_sum;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    std::tie(out, log_sum) = attention_with_log_sum(query, key, value, mask);
  }
  if (torch::autograd::compute_requires_grad(query, key, value)) {
    record<Attention>({out}, {query, key, value}, {query, key, value, mask.value_or(at::Tensor()), out, log_sum});
  }
  if (has_tangent(query, key, value)) set_tangent(out, attention_by_definition(query, key, value, mask));
  return {std::move(out), std::move(log_sum)};
}

at::Tensor attention_autograd(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Mask& mask) {
  if (torch::autograd::compute_requires_grad(query, key, value) || has_tangent(query, key, value)) {
    return std::get<0>(attention_with_log_sum_autograd(query, key, value, mask));
  }
  at::AutoDispatchBelowADInplaceOrView guard;
  return attention(query, key, value, mask);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_autograd(
    const at::Tensor& grad, const at::Tensor& out, const at::Tensor& log_sum, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const Mask& mask) {
  at::Tensor grad_query, grad_key, grad_value;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    std::tie(grad_query, grad_key, grad_value) = attention_backward(grad, out, log_sum, query, key, value, mask);
  }
  if (torch::autograd::compute_requires_grad(grad, query, key, value)) {
    record<AttentionBackward>(
        {grad_query, grad_key, grad_value}, {grad, query, key, value},
        {grad, query, key, value, mask.value_or(at::Tensor())});
  }
  if (has_tangent(grad, query, key, value)) {
    const auto definition = gradients_by_definition(grad, query, key, value, mask);
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
