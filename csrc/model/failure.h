// Errors of one line.
#pragma once
#include <exception>
#include <filesystem>
#include <string>

namespace hitpool {

// Throws std::runtime_error("<path>: <what>").
[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what);

// What an exception says, without the stack that torch writes behind it.
std::string text_of(const std::exception& error);

// Its lines that are not empty.
std::string first_line(const std::string& text);
std::string last_line(const std::string& text);

// Throws if there is no such file.
void check_is_file(const std::filesystem::path& path);

// What to say of an error of torch while it loads a model: an op that nobody has registered is named.
std::string why_not_loaded(const std::exception& error);

}  // namespace hitpool
