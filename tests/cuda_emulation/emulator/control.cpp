// What a test calls, through ctypes.
#include <cstdint>
#include <cstdio>

#include "block.h"
#include "memory.h"
#include "report.h"
#include "traffic.h"

using namespace cuda_emulation;

namespace {

// Copies as much as there is room for; how much there is.
int64_t copy(const std::string& text, char* to, int64_t room) {
  std::snprintf(to, static_cast<std::size_t>(room), "%s", text.c_str());
  return static_cast<int64_t>(text.size());
}

}  // namespace

extern "C" {
void emulation_schedule(uint64_t seed, int order, int preempt_one_in, int garbage, unsigned max_grid) {
  set_schedule({seed, static_cast<Schedule::Order>(order), preempt_one_in, garbage, max_grid});
}
void emulation_clear_regions() { clear_regions(); }
void emulation_region(const void* begin, int64_t bytes, int writable, const char* name) {
  add_region(begin, static_cast<std::size_t>(bytes), writable != 0, name);
}
void emulation_report_unwritten() { report_unwritten(); }
int64_t emulation_reports(char* to, int64_t room) { return copy(take_reports(), to, room); }
void emulation_start_traffic() { start_traffic(); }
int64_t emulation_traffic(char* to, int64_t room) { return copy(take_traffic(), to, room); }
void emulation_counters(uint64_t* to) {
  to[0] = counters.launches, to[1] = counters.blocks, to[2] = counters.switches, to[3] = checked_accesses();
}
}
