#include "model/failure.h"

#include <c10/util/Exception.h>

#include <stdexcept>
#include <string_view>

namespace hitpool {

void fail(const std::filesystem::path& path, const std::string& what) {
  throw std::runtime_error(path.string() + ": " + what);
}

std::string text_of(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return torch_error ? torch_error->what_without_backtrace() : error.what();
}

std::string first_line(const std::string& text) {
  const size_t start = text.find_first_not_of("\n ");
  return start == std::string::npos ? text : text.substr(start, text.find('\n', start) - start);
}

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of("\n ");
  const size_t line = text.find_last_of('\n', end);
  return first_line(text.substr(line == std::string::npos ? 0 : line, end - line));
}

void check_is_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) fail(path, "there is no such file");
  if (std::filesystem::is_directory(path, error)) fail(path, "is a folder");
}

std::string why_not_loaded(const std::exception& error) {
  const std::string text = text_of(error);
  for (const std::string_view begin : {"Unknown builtin op: ", "Could not find schema for "}) {
    const size_t found = text.find(begin);
    if (found == std::string::npos) continue;
    const size_t start = found + begin.size();
    std::string op = text.substr(start, text.find_first_of(" \n,", start) - start);
    if (op.ends_with('.')) op.pop_back();
    return "uses the op " + op + ", which no loaded library has: link or dlopen the library that registers it";
  }
  return "cannot be loaded: " + first_line(text);
}

}  // namespace hitpool
