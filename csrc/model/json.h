// JSON (RFC 8259), read strictly: no comments, no trailing commas, no NaN, nothing behind the value.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hitpool {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in the order of the text

  // Throws std::runtime_error, which says what is wrong at which byte.
  static Json parse(std::string_view text);

  // Throw std::runtime_error if the value is of another kind.
  bool boolean() const;
  double number() const;
  const std::string& string() const;
  const Array& array() const;
  const Object& object() const;

  const Json& operator[](std::string_view key) const;  // of an object; throws if it has none
  const Json* find(std::string_view key) const;        // null if it has none

 private:
  friend class JsonParser;
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value_;
};

}  // namespace hitpool
