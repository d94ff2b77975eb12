// Under autocast the op runs in float32: sums over hits and raw coordinates need it.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "ops/weighted_pool.h"

namespace hitpool {
namespace {

template <c10::DispatchKey key, c10::DeviceType device>
at::Tensor weighted_pool_autocast(
    const at::Tensor& logits, const at::Tensor& features, const std::optional<at::Tensor>& valid, double threshold) {
  c10::impl::ExcludeDispatchKeyGuard guard(key);
  return weighted_pool(
      at::autocast::cached_cast(at::kFloat, logits, device), at::autocast::cached_cast(at::kFloat, features, device),
      valid, threshold);
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, AutocastCPU, m) {
  m.impl("weighted_pool", TORCH_FN((weighted_pool_autocast<c10::DispatchKey::AutocastCPU, at::kCPU>)));
}

TORCH_LIBRARY_IMPL(hitpool, AutocastCUDA, m) {
  m.impl("weighted_pool", TORCH_FN((weighted_pool_autocast<c10::DispatchKey::AutocastCUDA, at::kCUDA>)));
}

}  // namespace hitpool
