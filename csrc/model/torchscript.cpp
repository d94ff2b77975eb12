#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "model/backend.h"
#include "model/failure.h"

namespace hitpool {
namespace {

constexpr const char* kMetadata = "hitpool.json";

class TorchScript : public Backend {
 public:
  explicit TorchScript(const std::filesystem::path& path)
      : module_(torch::jit::load(path.string(), at::kCPU, extra_)), forward_(module_.get_method("forward")) {}

  std::vector<at::Tensor> run(const at::Tensor& hits, const at::Tensor& valid) const override {
    const at::IValue tuple = forward_({hits, valid});
    std::vector<at::Tensor> results;
    for (const at::IValue& result : tuple.toTupleRef().elements()) results.push_back(result.toTensor());
    return results;
  }

  std::string metadata() const override { return extra_.at(kMetadata); }

 private:
  torch::jit::ExtraFilesMap extra_{{kMetadata, ""}};
  torch::jit::Module module_;
  torch::jit::Method forward_;
};

}  // namespace

std::unique_ptr<Backend> load_torchscript(const std::filesystem::path& path) {
  try {
    return std::make_unique<TorchScript>(path);
  } catch (const std::exception& error) {
    fail(path, why_not_loaded(error));
  }
}

}  // namespace hitpool
