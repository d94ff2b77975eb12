// Tensors for which no op has a kernel: sparse, nested, quantized, or on a device that this build does not know.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace hitpool {
namespace {

void refuse_tensor(const std::string& op, const std::string& name, const at::Tensor& tensor) {
  const char* kind = tensor.is_nested() ? "a nested tensor" : tensor.is_quantized() ? "a quantized tensor" : nullptr;
  TORCH_CHECK_TYPE(!kind, op, ": expected ", name, " as a dense tensor, got ", kind);
  TORCH_CHECK_TYPE(
      tensor.layout() == at::kStrided, op, ": expected ", name, " as a dense tensor, got layout ", tensor.layout(),
      "; ", name, ".to_dense() makes it one");
}

void refuse(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto inputs = torch::jit::last(*stack, schema.arguments().size());
  at::Device device = at::kCPU;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto tensors = inputs[i].isTensorList() ? inputs[i].toTensorVector()
                         : inputs[i].isTensor()   ? std::vector{inputs[i].toTensor()}
                                                  : std::vector<at::Tensor>();
    for (const auto& tensor : tensors) {
      if (!tensor.defined()) continue;
      refuse_tensor(schema.name(), schema.arguments()[i].name(), tensor);
      if (!tensor.is_cpu()) device = tensor.device();
    }
  }
  TORCH_CHECK_NOT_IMPLEMENTED(false, schema.name(), ": this build of hitpool has no kernel for device ", device);
}

void refuse_in(torch::Library& m) {
  for (const char* op :
       {"weighted_pool", "_weighted_pool_for_backward", "_weighted_pool_backward", "pseudorapidity",
        "_pseudorapidity_backward", "attention", "_attention_with_log_sum", "_attention_backward", "toroid_fit",
        "solenoid_fit"}) {
    m.impl(op, torch::CppFunction::makeFromBoxedFunction<&refuse>());
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(
    hitpool, CompositeExplicitAutograd, m) {  // whatever has no kernel of its own, but for nested tensors
  refuse_in(m);
}

TORCH_LIBRARY_IMPL(hitpool, NestedTensorCPU, m) { refuse_in(m); }

TORCH_LIBRARY_IMPL(hitpool, NestedTensorCUDA, m) { refuse_in(m); }

}  // namespace hitpool
