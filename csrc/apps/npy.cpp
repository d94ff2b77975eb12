// The file: "\x93NUMPY", version in 2 bytes, length of the header in 2 bytes (version 1) or 4, the header, the values.
#include "apps/npy.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>
#include <stdexcept>
#include <string>

namespace hitpool {
namespace {

static_assert(std::endian::native == std::endian::little);

template <class Integer>
std::vector<int64_t> values_of(const std::string& content, size_t start, size_t count) {
  std::vector<Integer> values(count);
  if (content.size() - start < count * sizeof(Integer)) throw std::runtime_error("is too short");
  if (count > 0) std::memcpy(values.data(), content.data() + start, count * sizeof(Integer));
  return {values.begin(), values.end()};
}

std::vector<int64_t> parse(const std::string& content) {
  if (content.size() < 12 || !content.starts_with("\x93NUMPY")) throw std::runtime_error("is no array of NumPy");
  const size_t bytes = content[6] == 1 ? 2 : 4;  // of the length
  uint32_t length = 0;
  std::memcpy(&length, content.data() + 8, bytes);
  const size_t start = 8 + bytes + length;
  if (start > content.size()) throw std::runtime_error("is too short");
  const std::string header = content.substr(8 + bytes, length);
  static const std::regex pattern(R"('descr': '([<|][iu][1248])'[\s\S]*'shape': \((\d+),\))");
  std::smatch found;
  if (!std::regex_search(header, found, pattern))
    throw std::runtime_error("expected a list of integers, got " + header);
  const std::string type = found[1].str().substr(1);
  const size_t count = std::stoull(found[2]);
  if (type == "i1") return values_of<int8_t>(content, start, count);
  if (type == "u1") return values_of<uint8_t>(content, start, count);
  if (type == "i2") return values_of<int16_t>(content, start, count);
  if (type == "u2") return values_of<uint16_t>(content, start, count);
  if (type == "i4") return values_of<int32_t>(content, start, count);
  if (type == "u4") return values_of<uint32_t>(content, start, count);
  return values_of<int64_t>(content, start, count);
}

}  // namespace

std::vector<int64_t> read_npy(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + ": cannot be read");
  try {
    return parse({std::istreambuf_iterator<char>(file), {}});
  } catch (const std::exception& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

}  // namespace hitpool
