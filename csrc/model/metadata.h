// What an exported model says of itself.
#pragma once
#include <hitpool/model.h>

#include <string>
#include <vector>

namespace hitpool {

struct Metadata {
  std::vector<Column> columns;
  std::vector<Field> fields;
  Thresholds thresholds;
};

// Throws std::runtime_error if the text is not what hitpool export writes.
Metadata parse_metadata(const std::string& text);

}  // namespace hitpool
