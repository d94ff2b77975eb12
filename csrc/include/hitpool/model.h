// An exported model: hits as on disk in, track parameters in physical units and probabilities out.
//
//   const hitpool::Model model("model.pt2", 8);            // at most 8 calls at the same time
//   const hitpool::Tracks tracks = model(hits, valid);     // from any thread
//
// Letters: B events, M hits, C columns, N track slots, K parameters.
#pragma once
#include <ATen/core/Tensor.h>
#include <hitpool/export.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hitpool {

struct Column {
  std::string name;
  std::string unit;  // empty: none
  bool used;         // a column that is not used may hold anything
};

struct Field {
  std::string name;
  std::string unit;  // empty: none
};

// Results of one call, float32.
struct Tracks {
  at::Tensor parameters;         // [B, N, K]
  at::Tensor track_probability;  // [B, N]
  at::Tensor hit_probability;    // [B, N, M], 0 at padded hits
};

// Probabilities from which a track exists and a hit belongs to it.
struct Thresholds {
  double track = 0.5;
  double hit = 0.5;
};

class HITPOOL_EXPORT Model {
 public:
  // Loads TorchScript (.pt) or an AOTInductor package (.pt2); what the file is, is seen from its content.
  //
  // concurrent_calls: calls that an AOTInductor package computes at the same time; further ones wait. TorchScript has no
  // such limit. Throws std::runtime_error with one line if the file cannot be used.
  explicit Model(const std::filesystem::path& path, int concurrent_calls = 1);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  // Runs the model; safe from several threads. Gradients are not recorded.
  //
  //   hits   [B, M, C] or [M, C]  float32 on the CPU, columns as in columns(); any B and M, 0 included
  //   valid  [B, M] or [M]        bool, false at padded hits; without it all hits are valid
  //
  // For hits [M, C] the results have no B either. Throws std::invalid_argument if the arguments do not fit, and
  // std::runtime_error if the model fails.
  Tracks operator()(const at::Tensor& hits, const std::optional<at::Tensor>& valid = std::nullopt) const;

  const std::vector<Column>& columns() const;  // of the hits
  const std::vector<Field>& fields() const;    // of the parameters
  const Thresholds& thresholds() const;
  const std::string& metadata() const;  // all that the file says of the model, JSON

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace hitpool
