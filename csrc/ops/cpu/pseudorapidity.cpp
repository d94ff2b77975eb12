#include "ops/pseudorapidity.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "check.h"
#include "ops/cpu/capability.h"
#include "ops/cpu/pseudorapidity_kernel.h"
#include "ops/pseudorapidity_formula.h"

namespace hitpool {
namespace {

constexpr int64_t kGrain = 1024;         // angles per task
constexpr int64_t kVectorGrain = 16384;  // with vector code

const cpu::EtaKernels& kernels() {
  static const auto& chosen = HITPOOL_CHOOSE(cpu::eta_kernels);
  return chosen;
}

// float64, bfloat16 and float16, one angle at a time with the functions of the C library, in float64 arithmetic.
template <class Formula>
at::Tensor map_angles(const at::Tensor& theta_in, Formula&& formula) {
  const auto theta = theta_in.contiguous();
  auto result = at::empty_like(theta, {}, at::MemoryFormat::Contiguous);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, theta.scalar_type(), "pseudorapidity", [&] {
    const auto* from = theta.const_data_ptr<scalar_t>();
    auto* to = result.mutable_data_ptr<scalar_t>();
    const double pi = static_cast<double>(static_cast<scalar_t>(kPiHigh));
    at::parallel_for(0, theta.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<scalar_t>(formula(i, from[i], pi));
    });
  });
  return result;
}

at::Tensor pseudorapidity_cpu(const at::Tensor& theta) {
  check_pseudorapidity(theta);
  if (theta.scalar_type() == at::kFloat) {
    const auto contiguous = theta.contiguous();
    auto eta = at::empty_like(contiguous, {}, at::MemoryFormat::Contiguous);
    const auto* from = contiguous.const_data_ptr<float>();
    auto* to = eta.mutable_data_ptr<float>();
    at::parallel_for(0, theta.numel(), kVectorGrain, [&](int64_t begin, int64_t end) {
      kernels().forward(from + begin, to + begin, end - begin);
    });
    return eta;
  }
  return map_angles(theta, [](int64_t, auto angle, double pi) { return pseudorapidity_of(angle, pi); });
}

at::Tensor pseudorapidity_backward_cpu(const at::Tensor& grad_in, const at::Tensor& theta) {
  check_pseudorapidity(theta);
  HITPOOL_CHECK_VALUE(
      grad_in.sizes() == theta.sizes(), "_pseudorapidity_backward", "grad",
      c10::str("the shape of theta, ", theta.sizes()), grad_in.sizes());
  if (theta.scalar_type() == at::kFloat) {
    const auto contiguous = theta.contiguous();
    const auto grad = grad_in.to(at::kFloat).contiguous();
    auto result = at::empty_like(contiguous, {}, at::MemoryFormat::Contiguous);
    const auto* angles = contiguous.const_data_ptr<float>();
    const auto* g = grad.const_data_ptr<float>();
    auto* to = result.mutable_data_ptr<float>();
    at::parallel_for(0, theta.numel(), kVectorGrain, [&](int64_t begin, int64_t end) {
      kernels().backward(g + begin, angles + begin, to + begin, end - begin);
    });
    return result;
  }
  const auto grad = grad_in.to(at::kDouble).contiguous();
  const auto* g = grad.const_data_ptr<double>();
  return map_angles(
      theta, [g](int64_t i, auto angle, double pi) { return g[i] * pseudorapidity_derivative_of(angle, pi); });
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CPU, m) {
  m.impl("pseudorapidity", TORCH_FN(pseudorapidity_cpu));
  m.impl("_pseudorapidity_backward", TORCH_FN(pseudorapidity_backward_cpu));
}

}  // namespace hitpool
