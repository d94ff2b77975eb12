# Target hitpool_torch: headers and libraries of the torch that this Python imports. torch's own CMake package is not
# used: with a CUDA build of torch it demands a full CUDA toolkit even for a CPU build.
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
    "import torch, os; print(os.path.dirname(torch.__file__), torch.__version__, torch.version.cuda or 'none', int(torch._C._GLIBCXX_USE_CXX11_ABI), sep=';')"
  OUTPUT_VARIABLE torch_facts OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
list(GET torch_facts 0 torch_root)
list(GET torch_facts 1 HITPOOL_TORCH_VERSION)
list(GET torch_facts 2 HITPOOL_TORCH_CUDA)
list(GET torch_facts 3 torch_abi)
message(STATUS "torch ${HITPOOL_TORCH_VERSION}, CUDA ${HITPOOL_TORCH_CUDA}")

add_library(hitpool_torch INTERFACE)
target_include_directories(hitpool_torch SYSTEM INTERFACE
  "${torch_root}/include" "${torch_root}/include/torch/csrc/api/include")
target_compile_features(hitpool_torch INTERFACE cxx_std_20)
target_compile_definitions(hitpool_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=${torch_abi})
target_link_libraries(hitpool_torch INTERFACE "${torch_root}/lib/libtorch_cpu.so" "${torch_root}/lib/libc10.so")

set(HITPOOL_HAS_CUDA OFF)
if(NOT HITPOOL_CUDA MATCHES "^(AUTO|ON|OFF|EMULATED)$")
  message(FATAL_ERROR "HITPOOL_CUDA must be AUTO, ON, OFF or EMULATED, got '${HITPOOL_CUDA}'")
elseif(HITPOOL_CUDA MATCHES "^(AUTO|ON)$")
  if(NOT HITPOOL_TORCH_CUDA STREQUAL none)
    include(CheckLanguage)
    check_language(CUDA)
  endif()
  if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90)
    endif()
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    target_link_libraries(hitpool_torch INTERFACE "${torch_root}/lib/libc10_cuda.so" CUDA::cudart)
    set(HITPOOL_HAS_CUDA ON)
  elseif(HITPOOL_CUDA STREQUAL ON)
    message(FATAL_ERROR
      "HITPOOL_CUDA=ON needs a CUDA build of torch and nvcc; torch ${HITPOOL_TORCH_VERSION} has CUDA "
      "${HITPOOL_TORCH_CUDA}, nvcc: ${CMAKE_CUDA_COMPILER}")
  endif()
endif()
message(STATUS "CUDA kernels: ${HITPOOL_HAS_CUDA}")
