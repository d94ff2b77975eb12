// The kernels as C functions, for ctypes. Each returns the error code of its launch.
#include "ops/cuda/pseudorapidity_kernel.h"
#include "ops/cuda/weighted_pool_kernel.h"

using hitpool::PoolInputs;

namespace {

struct Inputs {
  int64_t events, tracks, hits, features;
  const void *logits, *values;
  const bool* valid;
  int logits_dtype, values_dtype;
  double threshold;
};

PoolInputs inputs_of(const Inputs& in) {
  return {
      in.events,
      in.tracks,
      in.hits,
      in.features,
      in.logits,
      in.values,
      in.valid,
      static_cast<hitpool::Dtype>(in.logits_dtype),
      static_cast<hitpool::Dtype>(in.values_dtype),
      in.threshold,
      hitpool::kMinWeightSum};
}

}  // namespace

extern "C" {
int64_t forward_scratch(const Inputs* in) { return hitpool::cuda::forward_scratch(inputs_of(*in)); }
int forward(const Inputs* in, void* pooled, int32_t* index, void* sums, void* scratch) {
  return hitpool::cuda::launch_forward(inputs_of(*in), pooled, index, sums, scratch, nullptr);
}
int backward_logits(const Inputs* in, const void* grad, const void* sums, void* grad_logits) {
  return hitpool::cuda::launch_backward_logits(inputs_of(*in), grad, sums, grad_logits, nullptr);
}
int backward_features(const Inputs* in, const void* grad, const int32_t* index, const void* sums, void* grad_values) {
  return hitpool::cuda::launch_backward_features(inputs_of(*in), grad, index, sums, grad_values, nullptr);
}
int eta(int dtype, int64_t count, const void* theta, void* eta) {
  return hitpool::cuda::launch_pseudorapidity(static_cast<hitpool::Dtype>(dtype), count, theta, eta, nullptr);
}
int eta_gradient(int dtype, int64_t count, const void* grad, const void* theta, void* result) {
  return hitpool::cuda::launch_pseudorapidity_backward(
      static_cast<hitpool::Dtype>(dtype), count, grad, theta, result, nullptr);
}
}
