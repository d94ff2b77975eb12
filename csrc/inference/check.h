// The errors of csrc/check.h without ATen. All are std::invalid_argument, which Python sees as ValueError: torch's own
// classes of errors are not part of its stable ABI.
#pragma once
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

#include "inference/tensor.h"

namespace hitpool::inference {

inline void write(std::ostream& to, Sizes sizes) {
  to << '[';
  for (size_t i = 0; i < sizes.size(); ++i) to << (i == 0 ? "" : ", ") << sizes[i];
  to << ']';
}

template <class T>
void write(std::ostream& to, const T& value) {
  to << value;
}

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream to;
  (write(to, parts), ...);
  return to.str();
}

// check(logits.dim() >= 2, "weighted_pool", "logits", "shape [..., N, M]", logits.sizes());
template <class Got>
void check(bool condition, const char* op, const char* argument, const std::string& expected, const Got& got) {
  if (condition) return;
  throw std::invalid_argument(text("hitpool::", op, ": expected ", argument, " with ", expected, ", got ", got));
}

inline void check_float(const char* op, const char* name, const Tensor& tensor) {
  const auto type = tensor.scalar_type();
  check(
      type == ScalarType::Double || type == ScalarType::Float || type == ScalarType::BFloat16 ||
          type == ScalarType::Half,
      op, name, "dtype float64, float32, bfloat16 or float16", type);
}

inline void check_bool(const char* op, const char* name, const Tensor& tensor) {
  check(tensor.scalar_type() == ScalarType::Bool, op, name, "dtype bool", tensor.scalar_type());
}

// Kernels number hits and keys in 32 bits.
inline void check_count(const char* op, const char* name, const char* what, int64_t count) {
  check(count <= std::numeric_limits<int32_t>::max(), op, name, text("at most 2^31 - 1 ", what, " per event"), count);
}

}  // namespace hitpool::inference
