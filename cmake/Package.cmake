# What find_package(hitpool) needs, beside the libraries.
include(CMakePackageConfigHelpers)
string(REGEX MATCH "^[0-9]+\\.[0-9]+" HITPOOL_TORCH_MINOR "${HITPOOL_TORCH_VERSION}")
set(HITPOOL_TORCH_ABI ${torch_abi})
configure_file(cmake/hitpoolConfig.cmake.in hitpoolConfig.cmake @ONLY)
write_basic_package_version_file(hitpoolConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/hitpoolConfig.cmake" "${PROJECT_BINARY_DIR}/hitpoolConfigVersion.cmake"
  DESTINATION hitpool/share/cmake/hitpool)
install(DIRECTORY csrc/include/hitpool DESTINATION hitpool/include)
