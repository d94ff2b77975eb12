#include "traffic.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "block.h"
#include "report.h"

namespace cuda_emulation {
namespace {

constexpr uintptr_t kSector = 32;

struct Request {
  std::vector<uintptr_t> sectors;
  uint64_t lanes = 0, bytes = 0;
  bool write = false;
};
struct Total {
  uint64_t requests = 0, lanes = 0, sectors = 0, bytes = 0;
  bool write = false;
};
bool counting = false;
// Of a block, by warp, meetings of the warp, code, and how often the lane came there since: the lanes of a warp that
// run an instruction together.
std::map<std::tuple<int, uint32_t, const void*, int64_t>, Request> requests;
std::map<const void*, Total> totals;

}  // namespace

void start_traffic() {
  counting = true;
  totals.clear();
}

void count_traffic(uintptr_t address, std::size_t bytes, bool write, const void* code) {
  if (!counting) return;
  const int warp = running_thread() / kLanes;
  Request& request = requests[{warp, timeline.meetings[warp], code, next_visit(code)}];
  request.write = write;
  request.bytes += bytes;
  ++request.lanes;
  for (uintptr_t s = address / kSector; s <= (address + bytes - 1) / kSector; ++s) request.sectors.push_back(s);
}

void end_of_block_traffic() {
  for (auto& [key, request] : requests) {
    Total& total = totals[std::get<const void*>(key)];
    auto& sectors = request.sectors;
    std::sort(sectors.begin(), sectors.end());
    total.sectors += std::unique(sectors.begin(), sectors.end()) - sectors.begin();
    total.requests += 1;
    total.lanes += request.lanes;
    total.bytes += request.bytes;
    total.write = request.write;
  }
  requests.clear();
}

std::string take_traffic() {
  std::string text;
  for (const auto& [code, total] : totals) {
    text += place(code) + (total.write ? " write" : " read");
    for (const uint64_t number : {total.requests, total.lanes, total.sectors, total.bytes})
      text += " " + std::to_string(number);
    text += "\n";
  }
  counting = false;
  return text;
}

}  // namespace cuda_emulation
