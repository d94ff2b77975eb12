// Gradients of attention. A backward that must itself be differentiable is the gradient of the definition, written in
// torch's ops.
#include "ops/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <limits>

namespace hitpool {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor differentiable_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask) {
  const double scale = 1 / std::sqrt(static_cast<double>(query.size(-1)));
  auto score = (query * scale).transpose(1, 2).matmul(key.permute({0, 2, 3, 1}));  // [B, H, Q, K]
  if (mask.has_value()) {
    const auto allowed = mask->unsqueeze(1);  // [B, 1, 1 or Q, K]
    const auto nothing = allowed.any(-1, /*keepdim=*/true).logical_not();
    const auto minus_infinity = at::scalar_tensor(-std::numeric_limits<double>::infinity(), score.options());
    score = at::where(allowed.logical_or(nothing), score, minus_infinity);
    const auto weight = score.softmax(-1).masked_fill(nothing, 0.0);
    return weight.matmul(value.transpose(1, 2)).transpose(1, 2);
  }
  return score.softmax(-1).matmul(value.transpose(1, 2)).transpose(1, 2);
}

class Attention : public torch::autograd::Function<Attention> {
 public:
  static at::Tensor forward(
      AutogradContext* ctx, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
      const std::optional<at::Tensor>& mask) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [out, log_sum] = attention_with_log_sum(query, key, value, mask);
    ctx->save_for_backward({query, key, value, mask.value_or(at::Tensor()), out, log_sum});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto mask = saved[3].defined() ? std::optional(saved[3]) : std::nullopt;
    if (!at::GradMode::is_enabled()) {
      auto [query, key, value] = attention_backward(grads[0], saved[4], saved[5], saved[0], saved[1], saved[2], mask);
      return {query, key, value, at::Tensor()};
    }
    variable_list inputs;
    for (int i = 0; i < 3; ++i) {
      if (saved[i].requires_grad()) inputs.push_back(saved[i]);
    }
    const auto gradients = torch::autograd::grad(
        {differentiable_attention(saved[0], saved[1], saved[2], mask)}, inputs, {grads[0]}, /*retain_graph=*/true,
        /*create_graph=*/true);
    auto next = gradients.begin();
    variable_list result;
    for (int i = 0; i < 3; ++i) result.push_back(saved[i].requires_grad() ? *next++ : at::Tensor());
    result.emplace_back();
    return result;
  }
};

at::Tensor attention_autograd(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask) {
  if (at::GradMode::is_enabled() && (query.requires_grad() || key.requires_grad() || value.requires_grad())) {
    return Attention::apply(query, key, value, mask);
  }
  at::AutoDispatchBelowADInplaceOrView guard;
  return attention(query, key, value, mask);
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, Autograd, m) {
  m.impl("attention", TORCH_FN(attention_autograd));
}

}  // namespace hitpool
