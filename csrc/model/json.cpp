#include "model/json.h"

#include <charconv>
#include <cstdint>
#include <stdexcept>

namespace hitpool {

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = read(0);
    next();
    if (at_ != text_.size()) fail("expected the end");
    return value;
  }

 private:
  static constexpr int kMaxDepth = 100;

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("JSON: " + what + " at byte " + std::to_string(at_));
  }

  char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  // The next character that is no space.
  char next() {
    while (here() == ' ' || here() == '\n' || here() == '\r' || here() == '\t') ++at_;
    return here();
  }

  void expect(char wanted) {
    if (here() != wanted) fail(std::string("expected '") + wanted + "'");
    ++at_;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json read(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    Json json;
    const char first = next();
    if (first == '{') json.value_ = object(depth);
    else if (first == '[') json.value_ = array(depth);
    else if (first == '"') json.value_ = string();
    else if (take("true")) json.value_ = true;
    else if (take("false")) json.value_ = false;
    else if (!take("null")) json.value_ = number();
    return json;
  }

  Json::Object object(int depth) {
    Json::Object members;
    expect('{');
    if (next() != '}') {
      do {
        if (!members.empty()) ++at_;
        next();
        std::string key = string();
        next();
        expect(':');
        members.emplace_back(std::move(key), read(depth + 1));
      } while (next() == ',');
    }
    expect('}');
    return members;
  }

  Json::Array array(int depth) {
    Json::Array items;
    expect('[');
    if (next() != ']') {
      do {
        if (!items.empty()) ++at_;
        items.push_back(read(depth + 1));
      } while (next() == ',');
    }
    expect(']');
    return items;
  }

  size_t digits() {
    const size_t start = at_;
    while ('0' <= here() && here() <= '9') ++at_;
    if (at_ == start) fail("expected a value");
    return at_ - start;
  }

  double number() {
    const size_t start = at_;
    take("-");
    const bool zero = here() == '0';
    if (digits() > 1 && zero) fail("number with a leading zero");
    if (take(".")) digits();
    if (take("e") || take("E")) {
      if (!take("+")) take("-");
      digits();
    }
    double value = 0;
    if (std::from_chars(text_.data() + start, text_.data() + at_, value).ec != std::errc()) fail("number out of range");
    return value;
  }

  std::string string() {
    std::string result;
    expect('"');
    while (here() != '"') {
      if (at_ >= text_.size()) fail("text without end");
      if (static_cast<unsigned char>(here()) < 0x20) fail("control character in a text");
      if (take("\\")) escaped(result);
      else result += text_[at_++];
    }
    ++at_;
    return result;
  }

  void escaped(std::string& result) {
    constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (take("u")) {
      uint32_t code = hex();
      if (0xD800 <= code && code < 0xDC00) {
        const bool paired = take("\\u");
        const uint32_t low = paired ? hex() : 0;
        if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      } else if (0xDC00 <= code && code <= 0xDFFF) {
        fail("half of a surrogate pair");
      }
      append_utf8(result, code);
      return;
    }
    const size_t found = letters.find(here());
    if (found == std::string_view::npos) fail("unknown escape");
    result += meanings[found];
    ++at_;
  }

  uint32_t hex() {
    const std::string_view four = text_.substr(at_, 4);
    uint32_t code = 0;
    const auto [end, error] = std::from_chars(four.data(), four.data() + four.size(), code, 16);
    if (four.size() < 4 || error != std::errc() || end != four.data() + 4) fail("expected four hexadecimal digits");
    at_ += 4;
    return code;
  }

  static void append_utf8(std::string& result, uint32_t code) {
    if (code < 0x80) {
      result += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes behind the first
    constexpr uint32_t kFirst[] = {0, 0xC0, 0xE0, 0xF0};
    result += static_cast<char>(kFirst[more] | (code >> (6 * more)));
    for (int i = more - 1; i >= 0; --i) result += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
  }

  std::string_view text_;
  size_t at_ = 0;
};

namespace {

template <class T, class Variant>
const T& as(const Variant& value, const char* kind) {
  if (const T* found = std::get_if<T>(&value)) return *found;
  throw std::runtime_error(std::string("JSON: expected ") + kind);
}

}  // namespace

Json Json::parse(std::string_view text) { return JsonParser(text).whole(); }

bool Json::boolean() const { return as<bool>(value_, "true or false"); }
double Json::number() const { return as<double>(value_, "a number"); }
const std::string& Json::string() const { return as<std::string>(value_, "a text"); }
const Json::Array& Json::array() const { return as<Array>(value_, "a list"); }
const Json::Object& Json::object() const { return as<Object>(value_, "an object"); }

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : object()) {
    if (name == key) return &value;
  }
  return nullptr;
}

const Json& Json::operator[](std::string_view key) const {
  if (const Json* found = find(key)) return *found;
  throw std::runtime_error("JSON: no '" + std::string(key) + "'");
}

}  // namespace hitpool
