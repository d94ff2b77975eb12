#include "model/metadata.h"

#include <stdexcept>

#include "model/json.h"

namespace hitpool {
namespace {

// The entry called so of a list of objects.
const Json& named(const Json& list, const std::string& name) {
  for (const Json& entry : list.array()) {
    if (entry["name"].string() == name) return entry;
  }
  throw std::runtime_error("JSON: no entry called '" + name + "'");
}

}  // namespace

Metadata parse_metadata(const std::string& text) {
  const Json json = Json::parse(text);
  Metadata metadata;
  for (const Json& column : named(json["inputs"], "hits")["columns"].array())
    metadata.columns.push_back({column["name"].string(), column["unit"].string(), column["used"].boolean()});
  for (const Json& field : named(json["outputs"], "parameters")["fields"].array())
    metadata.fields.push_back({field["name"].string(), field["unit"].string()});
  if (const Json* thresholds = json.find("thresholds"))
    metadata.thresholds = {(*thresholds)["track"].number(), (*thresholds)["hit"].number()};
  return metadata;
}

}  // namespace hitpool
