#include <torch/csrc/stable/library.h>

#include "inference/capability.h"
#include "inference/check.h"
#include "ops/cpu/pseudorapidity_kernel.h"

namespace hitpool::inference {
namespace {

constexpr int64_t kGrain = 16384;  // angles per task, below which a thread costs more than it saves

const cpu::EtaKernel& kernel(ScalarType type) {
  static const auto& chosen = HITPOOL_CHOOSE(cpu::eta_kernels);
  switch (type) {
    case ScalarType::Double: return chosen.float64;
    case ScalarType::Float: return chosen.float32;
    case ScalarType::BFloat16: return chosen.bfloat16;
    default: return chosen.float16;
  }
}

Tensor pseudorapidity(const Tensor& theta_in) {
  check_float("pseudorapidity", "theta", theta_in);
  const auto theta = packed(theta_in);
  const auto type = theta.scalar_type();
  auto eta = empty(theta.sizes(), type);
  const auto run = kernel(type).forward;
  const void* from = theta.const_data_ptr();
  void* to = eta.mutable_data_ptr();
  torch::stable::parallel_for(0, theta.numel(), kGrain, [&](int64_t begin, int64_t end) { run(from, to, begin, end); });
  return eta;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(hitpool, CPU, m) { m.impl("pseudorapidity", TORCH_BOX(&pseudorapidity)); }

}  // namespace hitpool::inference
