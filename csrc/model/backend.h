// What computes an exported model, one implementation for each format.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace hitpool {

class Backend {
 public:
  virtual ~Backend() = default;

  // hits [B, M, C] float32 and valid [B, M] bool, contiguous; safe from several threads.
  virtual std::vector<at::Tensor> run(const at::Tensor& hits, const at::Tensor& valid) const = 0;

  // Content of hitpool.json, empty if the file has none.
  virtual std::string metadata() const = 0;
};

// Throw std::runtime_error with one line if the file cannot be loaded.
std::unique_ptr<Backend> load_torchscript(const std::filesystem::path& path);
std::unique_ptr<Backend> load_package(const std::filesystem::path& path, int concurrent_calls);

// Chooses by the content of the file.
std::unique_ptr<Backend> load_backend(const std::filesystem::path& path, int concurrent_calls);

}  // namespace hitpool
