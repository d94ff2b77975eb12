# libhitpool_model.so: exported models in C++, behind headers that need no more of torch than its tensors.
add_library(hitpool_model SHARED
  csrc/model/backend.cpp
  csrc/model/check_events.cpp
  csrc/model/failure.cpp
  csrc/model/json.cpp
  csrc/model/metadata.cpp
  csrc/model/model.cpp
  csrc/model/package.cpp
  csrc/model/torchscript.cpp)
target_include_directories(hitpool_model PUBLIC csrc/include PRIVATE csrc)
# Models find the ops by name: no symbol of their library is called, and the linker would leave it out.
target_link_options(hitpool_model PRIVATE LINKER:--as-needed)
target_link_libraries(hitpool_model
  PUBLIC hitpool_torch
  PRIVATE "-Wl,--push-state,--no-as-needed,$<TARGET_FILE:hitpool_ops>,--pop-state" hitpool_ops)
target_compile_options(hitpool_model PRIVATE -Wall -Wextra)
set_target_properties(hitpool_model PROPERTIES
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON INSTALL_RPATH "$ORIGIN:$ORIGIN/../torch/lib")
add_library(hitpool::model ALIAS hitpool_model)
