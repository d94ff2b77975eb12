#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <hitpool/model.h>

#include <stdexcept>

#include "model/backend.h"
#include "model/failure.h"
#include "model/metadata.h"

namespace hitpool {

struct Model::Parts {
  std::string path;
  std::unique_ptr<Backend> backend;
  std::string text;
  Metadata metadata;
};

namespace {

template <class Got>
[[noreturn]] void refuse(const std::string& argument, const std::string& expected, const Got& got) {
  throw std::invalid_argument(c10::str("hitpool::Model: expected ", argument, " with ", expected, ", got ", got));
}

std::string joined(const std::vector<Column>& columns) {
  std::string names;
  for (const Column& column : columns) names += (names.empty() ? "" : ", ") + column.name;
  return names;
}

void check_tensor(const std::string& argument, const at::Tensor& tensor, at::ScalarType type, const char* type_name) {
  if (!tensor.defined()) refuse(argument, "values", "an undefined tensor");
  if (!tensor.device().is_cpu()) refuse(argument, "device cpu", tensor.device());
  if (tensor.layout() != at::kStrided) refuse(argument, "a dense layout", tensor.layout());
  if (tensor.scalar_type() != type) refuse(argument, std::string("dtype ") + type_name, tensor.scalar_type());
}

// A compiled package reads memory as if it were what it expects: everything is checked before it runs.
void check_hits(const at::Tensor& hits, const std::vector<Column>& columns) {
  check_tensor("hits", hits, at::kFloat, "float32");
  const bool is_shaped = hits.dim() == 2 || hits.dim() == 3;
  if (is_shaped && hits.size(-1) == static_cast<int64_t>(columns.size())) return;
  const std::string number = std::to_string(columns.size());
  refuse("hits", c10::str("shape [B, M, ", number, "] or [M, ", number, "], columns ", joined(columns)), hits.sizes());
}

void check_valid(const at::Tensor& valid, const at::Tensor& hits) {
  check_tensor("valid", valid, at::kBool, "bool");
  const auto expected = hits.sizes().slice(0, hits.dim() - 1);
  if (valid.sizes() != expected)
    refuse("valid", c10::str("shape ", expected, ", one for each of the hits"), valid.sizes());
}

}  // namespace

Model::Model(const std::filesystem::path& path, int concurrent_calls) : parts_(std::make_unique<Parts>()) {
  if (concurrent_calls < 1)
    throw std::invalid_argument(
        c10::str("hitpool::Model: expected at least 1 concurrent call, got ", concurrent_calls));
  parts_->path = path.string();
  parts_->backend = load_backend(path, concurrent_calls);
  parts_->text = parts_->backend->metadata();
  if (parts_->text.empty()) fail(path, "has no hitpool.json: hitpool export has not written it");
  try {
    parts_->metadata = parse_metadata(parts_->text);
  } catch (const std::exception& error) {
    fail(path, std::string("its hitpool.json is damaged: ") + error.what());
  }
}

Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Tracks Model::operator()(const at::Tensor& hits, const std::optional<at::Tensor>& valid) const {
  const c10::InferenceMode guard;
  check_hits(hits, columns());
  if (valid.has_value()) check_valid(*valid, hits);
  const bool is_one = hits.dim() == 2;
  const at::Tensor batch = (is_one ? hits.unsqueeze(0) : hits).contiguous();  // [B, M, C]
  at::Tensor present;                                                         // [B, M]
  if (!valid.has_value()) present = at::ones({batch.size(0), batch.size(1)}, at::kBool);
  else present = (is_one ? valid->unsqueeze(0) : *valid).contiguous();

  std::vector<at::Tensor> results;
  try {
    results = parts_->backend->run(batch, present);
  } catch (const std::exception& error) {
    throw std::runtime_error(parts_->path + ": the model failed: " + last_line(text_of(error)));
  }
  if (results.size() != 3) throw std::runtime_error(parts_->path + ": the model does not give three results");
  if (is_one) {
    for (at::Tensor& result : results) result = result.squeeze(0);
  }
  return {results[0], results[1], results[2]};
}

const std::vector<Column>& Model::columns() const { return parts_->metadata.columns; }
const std::vector<Field>& Model::fields() const { return parts_->metadata.fields; }
const Thresholds& Model::thresholds() const { return parts_->metadata.thresholds; }
const std::string& Model::metadata() const { return parts_->text; }

}  // namespace hitpool
