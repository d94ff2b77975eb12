#include "report.h"

#include <cstdint>
#include <map>
#include <sstream>

#include <dlfcn.h>

namespace cuda_emulation {
namespace {

constexpr std::size_t kMost = 200;
std::map<std::string, uint64_t> reports;

}  // namespace

void report(const std::string& what) {
  if (reports.size() < kMost || reports.contains(what)) ++reports[what];
}

std::string place(const void* code) {
  Dl_info library{};
  dladdr(code, &library);
  std::ostringstream text;
  text << " pc=0x" << std::hex << static_cast<const char*>(code) - static_cast<const char*>(library.dli_fbase);
  return text.str();
}

std::string take_reports() {
  std::string text;
  for (const auto& [what, times] : reports) text += what + " (" + std::to_string(times) + " times)\n";
  reports.clear();
  return text;
}

}  // namespace cuda_emulation
