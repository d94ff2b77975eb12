# libhitpool_inference.so: the ops for inference on CPU with the kernels of libhitpool_ops.so, for torch 2.11 and later.
# It uses nothing but the stable ABI of torch, which earlier versions have in part: they build no such library.
add_library(hitpool_inference SHARED
  csrc/inference/library.cpp
  csrc/inference/weighted_pool.cpp
  csrc/inference/pseudorapidity.cpp
  csrc/inference/attention.cpp
  csrc/inference/toroid_fit.cpp
  csrc/inference/solenoid_fit.cpp
  ${kernel_objects})
target_compile_features(hitpool_inference PRIVATE cxx_std_20)
target_compile_definitions(hitpool_inference PRIVATE TORCH_TARGET_VERSION=0x020b000000000000) # 2.11
target_compile_options(hitpool_inference PRIVATE -Wall -Wextra)
target_include_directories(hitpool_inference PRIVATE csrc)
target_include_directories(hitpool_inference SYSTEM PRIVATE "${torch_root}/include")
# libtorch exports symbols of the C++ library that it was built with: those of this system come first.
target_link_libraries(hitpool_inference PRIVATE stdc++ "${torch_root}/lib/libtorch_cpu.so")
set_target_properties(hitpool_inference PROPERTIES
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON INSTALL_RPATH "$ORIGIN/../torch/lib")
