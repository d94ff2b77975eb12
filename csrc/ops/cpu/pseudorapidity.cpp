#include "ops/pseudorapidity.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/cpu/capability.h"
#include "ops/cpu/pseudorapidity_kernel.h"

namespace hitpool {
namespace {

constexpr int64_t kGrain = 16384;  // angles per task, below which a thread costs more than it saves

const cpu::EtaKernel& kernel(at::ScalarType type) {
  static const auto& chosen = HITPOOL_CHOOSE(cpu::eta_kernels);
  switch (type) {
    case at::kDouble: return chosen.float64;
    case at::kFloat: return chosen.float32;
    case at::kBFloat16: return chosen.bfloat16;
    default: return chosen.float16;
  }
}

at::Tensor pseudorapidity_cpu(const at::Tensor& theta_in) {
  check_pseudorapidity(theta_in);
  const auto theta = theta_in.contiguous();
  auto eta = at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
  const auto run = kernel(theta.scalar_type()).forward;
  const void* from = theta.const_data_ptr();
  void* to = eta.mutable_data_ptr();
  at::parallel_for(0, theta.numel(), kGrain, [&](int64_t begin, int64_t end) { run(from, to, begin, end); });
  return eta;
}

at::Tensor pseudorapidity_backward_cpu(const at::Tensor& grad_in, const at::Tensor& theta_in) {
  check_pseudorapidity_backward(grad_in, theta_in);
  const auto theta = theta_in.contiguous();
  const auto grad = grad_in.to(theta.scalar_type()).contiguous();
  auto result = at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
  const auto run = kernel(theta.scalar_type()).backward;
  const void* g = grad.const_data_ptr();
  const void* from = theta.const_data_ptr();
  void* to = result.mutable_data_ptr();
  at::parallel_for(0, theta.numel(), kGrain, [&](int64_t begin, int64_t end) { run(g, from, to, begin, end); });
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CPU, m) {
  m.impl("pseudorapidity", TORCH_FN(pseudorapidity_cpu));
  m.impl("_pseudorapidity_backward", TORCH_FN(pseudorapidity_backward_cpu));
}

}  // namespace hitpool
