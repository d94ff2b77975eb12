// Tensors of torch's stable ABI: of torch, this library calls nothing but the C functions that its headers wrap.
#pragma once
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <utility>
#include <vector>

namespace hitpool::inference {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Sizes = torch::headeronly::IntHeaderOnlyArrayRef;

inline Tensor empty(Sizes sizes, ScalarType type) { return torch::stable::empty(sizes, type); }

// Contiguous in memory, which kernels need.
inline Tensor packed(const Tensor& tensor) {
  return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
}

inline std::optional<Tensor> packed(const std::optional<Tensor>& tensor) {
  return tensor.has_value() ? std::optional(packed(*tensor)) : std::nullopt;
}

// Null if there is none.
inline const bool* bools(const std::optional<Tensor>& tensor) {
  return tensor.has_value() ? static_cast<const bool*>(tensor->const_data_ptr()) : nullptr;
}

}  // namespace hitpool::inference
