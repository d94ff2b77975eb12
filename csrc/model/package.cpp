// AOTInductor packages: the network compiled for the CPU, with its weights.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <mutex>

#include "model/backend.h"
#include "model/failure.h"

namespace hitpool {
namespace {

using torch::inductor::AOTIModelPackageLoader;
using Loader = std::unique_ptr<AOTIModelPackageLoader>;

Loader open(const std::filesystem::path& path, int concurrent_calls) {
  static std::mutex one_at_a_time;  // torch's loader is not safe from several threads
  const std::lock_guard lock(one_at_a_time);
  try {
    return std::make_unique<AOTIModelPackageLoader>(
        path.string(), "model", /*run_single_threaded=*/false, static_cast<size_t>(concurrent_calls));
  } catch (const std::exception& error) {
    fail(path, why_not_loaded(error));
  }
}

class Package : public Backend {
 public:
  Package(const std::filesystem::path& path, int concurrent_calls) : loader_(open(path, concurrent_calls)) {
    const auto all = loader_->get_metadata();
    const auto device = all.find("AOTI_DEVICE_KEY");
    if (device != all.end() && device->second != "cpu")
      fail(path, "is compiled for " + device->second + ", not for cpu");
    const auto own = all.find("hitpool.json");
    if (own != all.end()) metadata_ = own->second;
  }

  std::vector<at::Tensor> run(const at::Tensor& hits, const at::Tensor& valid) const override {
    return loader_->run({hits, valid});
  }

  std::string metadata() const override { return metadata_; }

 private:
  Loader loader_;
  std::string metadata_;
};

}  // namespace

std::unique_ptr<Backend> load_package(const std::filesystem::path& path, int concurrent_calls) {
  return std::make_unique<Package>(path, concurrent_calls);
}

}  // namespace hitpool
