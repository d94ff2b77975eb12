# emulate_cuda(NAME SOURCE...): an object library of CUDA sources, translated; cuda_emulator: the emulator that runs them.
set(HITPOOL_EMULATION "${CMAKE_CURRENT_LIST_DIR}")
cmake_path(SET HITPOOL_CSRC NORMALIZE "${HITPOOL_EMULATION}/../../csrc")

function(emulated_sources library)
  target_compile_features(${library} PRIVATE cxx_std_20)
  target_include_directories(${library} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/translated" "${HITPOOL_EMULATION}/emulator"
    "${HITPOOL_CSRC}" "${HITPOOL_CSRC}/include")
  target_compile_options(${library} PRIVATE -Wall -Wextra -g1)
  set_target_properties(${library} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

file(GLOB emulator "${HITPOOL_EMULATION}/emulator/*.cpp")
list(REMOVE_ITEM emulator "${HITPOOL_EMULATION}/emulator/kernels.cpp")
add_library(cuda_emulator OBJECT ${emulator})
emulated_sources(cuda_emulator)
target_compile_options(cuda_emulator PRIVATE -O2 -U_FORTIFY_SOURCE) # which takes a change of stacks for a mistake

function(emulate_cuda name)
  file(GLOB headers "${HITPOOL_CSRC}/ops/cuda/*.cuh")
  foreach(source IN LISTS ARGN headers)
    cmake_path(ABSOLUTE_PATH source)
    cmake_path(GET source FILENAME file)
    set(target "${CMAKE_CURRENT_BINARY_DIR}/translated/ops/cuda/${file}")
    if(file MATCHES "[.]cu$")
      string(APPEND target ".cpp")
    endif()
    add_custom_command(
      OUTPUT "${target}"
      COMMAND "${Python_EXECUTABLE}" "${HITPOOL_EMULATION}/translate.py" "${source}" "${target}"
      DEPENDS "${source}" "${HITPOOL_EMULATION}/translate.py")
    list(APPEND translated "${target}")
  endforeach()
  add_library(${name} OBJECT ${translated})
  emulated_sources(${name})
  # What nvcc accepts: pragmas of its own, and functions that only some of its files use.
  target_compile_options(${name} PRIVATE -include cuda_emulation.h -Wno-unknown-pragmas -Wno-unused-function
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endfunction()
