// What the autograd kernels of all ops share. Values and first gradients come from the ops' own kernels. Tangents
// (forward mode) and gradients of gradients come from formulas in torch's ops, so that they can be differentiated any
// number of times, in both modes and under torch.func.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <type_traits>
#include <utility>

namespace hitpool {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class... Tensors>
bool has_tangent(const Tensors&... inputs) {
  return (inputs._fw_grad(/*level=*/0).defined() || ...);
}

// Gives `output` the tangent of `definition`, the same result computed by torch's ops.
inline void set_tangent(const at::Tensor& output, const at::Tensor& definition) {
  const auto& tangent = definition._fw_grad(/*level=*/0);
  if (tangent.defined()) output._set_fw_grad(tangent, /*level=*/0, /*is_inplace_op=*/false);
}

// Nodes are counted by c10::intrusive_ptr or by std::shared_ptr, depending on the version of torch.
template <class N>
auto new_node() {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, N>) {
    return c10::make_intrusive<N>();
  } else {
    return std::shared_ptr<N>(new N(), [](N* node) { deleteNode(node); });
  }
}

// From here on, T::backward(context, grads) is the gradient of `outputs` with respect to `inputs`; undefined grads are
// zero. Unlike torch::autograd::Function this also records under torch.func, as the ops of torch do.
template <class T>
AutogradContext& record(std::initializer_list<at::Tensor> outputs, const variable_list& inputs, variable_list saved) {
  auto node = new_node<torch::autograd::CppNode<T>>();
  node->set_ctx_grad_fn(node);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  node->is_variable_input_.assign(inputs.size(), true);
  for (const auto& output : outputs) torch::autograd::set_history(output, node);
  node->ctx_.set_materialize_grads(false);
  node->ctx_.save_for_backward(std::move(saved));
  node->save_variables_to_ctx();
  return node->ctx_;  // the outputs keep it alive
}

inline at::Tensor or_zeros(const at::Tensor& grad, const at::Tensor& like) {
  return grad.defined() ? grad : at::zeros_like(like);
}

}  // namespace hitpool
