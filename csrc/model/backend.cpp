// Which format a file has.
#include "model/backend.h"

#include <caffe2/serialize/inline_container.h>

#include <algorithm>

#include "model/failure.h"

namespace hitpool {
namespace {

// Names of the files in an archive of torch; none if it is no such archive.
std::vector<std::string> records_of(const std::filesystem::path& path) {
  try {
    return caffe2::serialize::PyTorchStreamReader(path.string()).getAllRecords();
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace

std::unique_ptr<Backend> load_backend(const std::filesystem::path& path, int concurrent_calls) {
  check_is_file(path);
  if (path.extension() == ".onnx")
    fail(path, "is an ONNX file, for ONNX Runtime; for this class export with --format torchscript or aoti");
  const auto records = records_of(path);
  const auto has = [&](auto&& is_wanted) { return std::any_of(records.begin(), records.end(), is_wanted); };
  const auto has_folder = [&](const std::string& folder) {
    return has([&](const std::string& name) { return name.starts_with(folder); });
  };
  if (has_folder("data/aotinductor/")) return load_package(path, concurrent_calls);
  if (has_folder("code/")) return load_torchscript(path);
  if (has_folder("models/"))
    fail(path, "is a program of torch.export, which C++ cannot run: export with --format aoti or torchscript");
  if (has([](const std::string& name) { return name == "data.pkl"; }))
    fail(path, "is a checkpoint, not an exported model: hitpool export makes one of it");
  fail(path, "is no exported model");
}

}  // namespace hitpool
