// One-dimensional arrays of integers in NumPy's file format.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace hitpool {

// Throws std::runtime_error with one line if the file does not hold one.
std::vector<int64_t> read_npy(const std::filesystem::path& path);

}  // namespace hitpool
