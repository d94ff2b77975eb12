// The ops for inference, with the schemas of csrc/ops. Without the tag of compliance: they have no meta kernels.
#include <torch/csrc/stable/library.h>

#include <stdexcept>

namespace {

void define(torch::stable::detail::StableLibrary& m) {
  m.def("weighted_pool(Tensor logits, Tensor features, Tensor? valid=None, *, float threshold=0.1) -> Tensor");
  m.def("pseudorapidity(Tensor theta) -> Tensor");
  m.def(
      "attention(Tensor query, Tensor key, Tensor value, Tensor? mask=None, int window=0, bool wrap=False) -> "
      "Tensor");
  m.def(
      "toroid_fit(Tensor hits, Tensor logits, Tensor? valid, float[] geometry, float[] field, Tensor[] table, *, "
      "float threshold=0.1, int max_hits=64) -> (Tensor, Tensor)");
  m.def(
      "solenoid_fit(Tensor hits, Tensor logits, Tensor? valid, float field, float radiation_lengths, "
      "float[] beam_spot, *, float threshold=0.1, int max_hits=16) -> (Tensor, Tensor)");
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(hitpool, m) {
  try {
    define(m);
  } catch (const std::runtime_error&) {
    throw std::runtime_error(
        "hitpool's ops are registered already: load either libhitpool_inference.so or libhitpool_ops.so");
  }
}
