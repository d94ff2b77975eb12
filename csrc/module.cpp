// hitpool._C: facts of the build. It links to neither torch nor the ops, so that Python can compare versions before
// it loads a library that may not fit.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_C, m) {
  m.doc() = "Facts of the build of hitpool.";
  m.attr("torch_version") = HITPOOL_TORCH_VERSION;  // "2.13.0+cpu"
  m.attr("cuda_version") = HITPOOL_CUDA_VERSION;    // "" without CUDA kernels
}
