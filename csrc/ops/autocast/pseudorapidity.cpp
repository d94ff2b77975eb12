// Under autocast the op runs in float32: angles in bfloat16 are good to 0.01 only.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "ops/pseudorapidity.h"

namespace hitpool {
namespace {

template <c10::DispatchKey key, c10::DeviceType device>
at::Tensor pseudorapidity_autocast(const at::Tensor& theta) {
  c10::impl::ExcludeDispatchKeyGuard guard(key);
  return pseudorapidity(at::autocast::cached_cast(at::kFloat, theta, device));
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, AutocastCPU, m) {
  m.impl("pseudorapidity", TORCH_FN((pseudorapidity_autocast<c10::DispatchKey::AutocastCPU, at::kCPU>)));
}

TORCH_LIBRARY_IMPL(hitpool, AutocastCUDA, m) {
  m.impl("pseudorapidity", TORCH_FN((pseudorapidity_autocast<c10::DispatchKey::AutocastCUDA, at::kCUDA>)));
}

}  // namespace hitpool
