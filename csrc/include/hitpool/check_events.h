// Events with known results, which lie beside every exported model as <model file>.check.safetensors.
//
//   const auto events = hitpool::read_check_events("model.pt.check.safetensors");
//   for (const auto& check : events.cases)
//     if (!(hitpool::difference(check, model(check.hits, check.valid)) <= events.tolerance)) ...
#pragma once
#include <hitpool/export.h>
#include <hitpool/model.h>

#include <filesystem>
#include <vector>

namespace hitpool {

struct CheckCase {
  at::Tensor hits;    // [B, M, C] float32
  at::Tensor valid;   // [B, M] bool
  at::Tensor exempt;  // [B] bool, events that are so close to a threshold that they are not compared
  Tracks expected;
  double track_threshold = 0;  // track probability from which parameters of a slot are compared
};

struct CheckEvents {
  std::vector<CheckCase> cases;
  double tolerance;  // for what difference() gives
};

// Throws std::runtime_error with one line if the file cannot be read.
HITPOOL_EXPORT CheckEvents read_check_events(const std::filesystem::path& path);

// Largest |got - expected| / (1 + |expected|) of all results of events that are not exempt; infinite if a shape differs
// or if only one of the two is NaN. Parameters of a slot whose track probability is below track_threshold in both are
// not compared where both are finite: nobody reads them, and a fit of hits that are no track depends on rounding.
HITPOOL_EXPORT double difference(const CheckCase& check, const Tracks& got);

}  // namespace hitpool
