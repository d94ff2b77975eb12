// Reads JSON from the standard input and writes what was understood, as JSON.
#include "model/json.h"

#include <cstdio>
#include <exception>
#include <iostream>
#include <iterator>

namespace {

void write(const hitpool::Json& json);

bool wrote(auto&& get) {
  try {
    get();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void write_text(const std::string& text) {
  std::putchar('"');
  for (const char letter : text) {
    if (letter == '"' || letter == '\\' || static_cast<unsigned char>(letter) < 0x20) std::printf("\\u%04x", letter);
    else std::putchar(letter);
  }
  std::putchar('"');
}

void write_items(char open, char close, const auto& items, auto&& write_item) {
  bool is_first = true;
  std::putchar(open);
  for (const auto& item : items) {
    if (!is_first) std::putchar(',');
    is_first = false;
    write_item(item);
  }
  std::putchar(close);
}

void write(const hitpool::Json& json) {
  const bool done = wrote([&] { std::printf("%s", json.boolean() ? "true" : "false"); }) ||
                    wrote([&] { std::printf("%.17g", json.number()); }) || wrote([&] { write_text(json.string()); }) ||
                    wrote([&] { write_items('[', ']', json.array(), [](const auto& item) { write(item); }); }) ||
                    wrote([&] {
                      write_items('{', '}', json.object(), [](const auto& member) {
                        write_text(member.first);
                        std::putchar(':');
                        write(member.second);
                      });
                    });
  if (!done) std::printf("null");
}

}  // namespace

int main() {
  try {
    write(hitpool::Json::parse(std::string{std::istreambuf_iterator<char>(std::cin), {}}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
