// The file is safetensors: length of the header in 8 bytes, the header in JSON, then the values; all little-endian.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <c10/core/InferenceMode.h>
#include <hitpool/check_events.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>

#include "model/failure.h"
#include "model/json.h"

namespace hitpool {
namespace {

static_assert(std::endian::native == std::endian::little);

std::string content_of(const std::filesystem::path& path) {
  check_is_file(path);
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw std::runtime_error("cannot be read");
  return content;
}

class SafeTensors {
 public:
  explicit SafeTensors(std::string content) : content_(std::move(content)) {
    uint64_t length = 0;
    if (content_.size() < sizeof length) throw std::runtime_error("is too short");
    std::memcpy(&length, content_.data(), sizeof length);
    if (length > content_.size() - sizeof length) throw std::runtime_error("is too short for its header");
    values_ = sizeof length + length;
    header_ = Json::parse(std::string_view(content_).substr(sizeof length, length));
  }

  double number(std::string_view key) const { return std::stod(header_["__metadata__"][key].string()); }

  double number(std::string_view key, double otherwise) const {
    const Json* const found = header_["__metadata__"].find(key);
    return found ? std::stod(found->string()) : otherwise;
  }

  at::Tensor tensor(const std::string& name) const {
    const Json& entry = header_[name];
    const std::string& dtype = entry["dtype"].string();
    if (dtype != "F32" && dtype != "BOOL") throw std::runtime_error(name + ": expected F32 or BOOL, got " + dtype);
    std::vector<int64_t> shape;
    for (const Json& size : entry["shape"].array()) shape.push_back(static_cast<int64_t>(size.number()));
    const auto& offsets = entry["data_offsets"].array();
    const size_t start = values_ + static_cast<size_t>(offsets.at(0).number());
    const size_t stop = values_ + static_cast<size_t>(offsets.at(1).number());
    const at::Tensor tensor = at::empty(shape, dtype == "F32" ? at::kFloat : at::kBool);
    if (stop > content_.size() || stop - start != tensor.nbytes()) throw std::runtime_error(name + ": wrong offsets");
    if (stop > start) std::memcpy(tensor.mutable_data_ptr(), content_.data() + start, stop - start);
    return tensor;
  }

 private:
  std::string content_;
  size_t values_ = 0;  // where they begin
  Json header_;
};

// Largest difference in the events [B, ...] of these numbers.
double largest(const at::Tensor& expected, const at::Tensor& got, const at::Tensor& numbers) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (expected.sizes() != got.sizes() || expected.scalar_type() != got.scalar_type()) return kInfinity;
  const at::Tensor wanted = expected.index_select(0, numbers), found = got.index_select(0, numbers);
  if (wanted.numel() == 0) return 0;
  at::Tensor apart = (found - wanted).abs() / (1 + wanted.abs());
  apart = at::where(wanted == found, 0.0, apart);  // infinities
  apart = at::where(wanted.isnan() & found.isnan(), 0.0, apart);
  return apart.nan_to_num(kInfinity, kInfinity).max().item<double>();
}

// The parameters, with the expected ones in slots that are empty in both, where both are finite.
at::Tensor without_empty(const CheckCase& check, const Tracks& got) {
  const Tracks& wanted = check.expected;
  if (wanted.parameters.sizes() != got.parameters.sizes() ||
      wanted.track_probability.sizes() != got.track_probability.sizes())
    return got.parameters;
  const at::Tensor empty =
      (got.track_probability < check.track_threshold) & (wanted.track_probability < check.track_threshold);
  const at::Tensor finite = got.parameters.isfinite() & wanted.parameters.isfinite();
  return at::where(empty.unsqueeze(-1) & finite, wanted.parameters, got.parameters);
}

}  // namespace

CheckEvents read_check_events(const std::filesystem::path& path) {
  try {
    const SafeTensors file(content_of(path));
    CheckEvents events{{}, file.number("tolerance")};
    const int cases = static_cast<int>(file.number("cases"));
    const double track_threshold = file.number("track_threshold", 0);
    for (int i = 0; i < cases; ++i) {
      const auto tensor = [&](const char* name) { return file.tensor(std::to_string(i) + "." + name); };
      events.cases.push_back(
          {tensor("hits"),
           tensor("valid"),
           tensor("exempt"),
           {tensor("parameters"), tensor("track_probability"), tensor("hit_probability")},
           track_threshold});
    }
    return events;
  } catch (const std::exception& error) {
    const std::string what = first_line(text_of(error));
    if (what.starts_with(path.string())) throw;
    fail(path, "holds no check events: " + what);
  }
}

double difference(const CheckCase& check, const Tracks& got) {
  const c10::InferenceMode guard;
  const at::Tensor numbers = check.exempt.logical_not().nonzero().squeeze(1);
  double worst = largest(check.expected.parameters, without_empty(check, got), numbers);
  for (const auto member : {&Tracks::track_probability, &Tracks::hit_probability})
    worst = std::max(worst, largest(check.expected.*member, got.*member, numbers));
  return worst;
}

}  // namespace hitpool
