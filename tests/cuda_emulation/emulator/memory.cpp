#include "memory.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <link.h>

#include "block.h"
#include "report.h"
#include "traffic.h"

namespace cuda_emulation {
namespace {

constexpr std::size_t kGap = 256;  // around every array
constexpr std::size_t kMaxArrays = 64;

alignas(256) unsigned char shared_memory[kSharedLimit + kMaxArrays * 2 * kGap];
struct Array {
  std::size_t begin, bytes;
};
std::size_t dynamic_bytes = 0, static_bytes = 0, shared_end = 0;
std::map<int, Array> static_arrays;

struct Shadow {  // of a byte of shared memory
  Moment write;
  uint32_t read_barrier = 0;  // of what is in reads
  Moment reads[kMaxWarps];    // the last one of each warp
};
std::vector<Shadow> shadows(sizeof shared_memory);
constexpr int kSeveral = -2;  // threads

struct Region {
  uintptr_t begin, end;
  bool writable;
  std::string name;
  std::vector<Moment> writes;  // of every byte of an output
};
std::vector<Region> regions;
uint64_t accesses = 0;

struct Access {
  uintptr_t address;
  std::size_t size;
  bool write;
  const void* code;

  bool within(uintptr_t begin, uintptr_t end) const { return begin <= address && address + size <= end; }
  bool within(const void* begin, std::size_t bytes) const {
    return within(reinterpret_cast<uintptr_t>(begin), reinterpret_cast<uintptr_t>(begin) + bytes);
  }
  std::string what() const { return (write ? "write" : "read") + place(code); }
};

bool in_shared_array(std::size_t begin, std::size_t size) {
  const auto holds = [&](const Array& a) { return a.begin <= begin && begin + size <= a.begin + a.bytes; };
  return holds({kGap, dynamic_bytes}) ||
         std::any_of(static_arrays.begin(), static_arrays.end(), [&](const auto& entry) {
           return holds(entry.second);
         });
}

// Does this write come at any time relative to a read by another thread?
bool meets_reads(const Shadow& shadow, int thread) {
  if (shadow.read_barrier != timeline.barrier) return false;
  for (int w = 0; w < kMaxWarps; ++w) {
    const Moment& read = shadow.reads[w];
    if (read.barrier != timeline.barrier || read.thread == thread) continue;
    if (w == thread / kLanes && read.warp_barrier < timeline.warp_barrier[w]) continue;
    return true;
  }
  return false;
}

void note_read(Shadow& shadow, int thread) {
  Moment& read = shadow.reads[thread / kLanes];
  const Moment now{timeline.barrier, timeline.warp_barrier[thread / kLanes], thread};
  const bool again = read.barrier == now.barrier && read.warp_barrier == now.warp_barrier && read.thread != thread;
  read = now;
  if (again) read.thread = kSeveral;
  shadow.read_barrier = timeline.barrier;
}

void check_shared(const Access& a) {
  const std::size_t begin = a.address - reinterpret_cast<uintptr_t>(shared_memory);
  if (!in_shared_array(begin, a.size)) {
    report("shared memory: out of bounds, " + a.what());
    return stop_launch();
  }
  const int thread = running_thread();
  bool race = false, unwritten = false;
  for (Shadow* s = &shadows[begin]; s < &shadows[begin] + a.size; ++s) {
    const bool written = s->write.thread >= 0 && s->write.barrier >= timeline.block_start;
    race |= written && !timeline.is_past(s->write, thread);
    if (a.write) {
      race |= meets_reads(*s, thread);
      s->write = {timeline.barrier, timeline.warp_barrier[thread / kLanes], thread};
    } else {
      unwritten |= !written;
      note_read(*s, thread);
    }
  }
  if (race) report("shared memory: race, " + a.what());
  if (unwritten) report("shared memory: not written before, " + a.what());
}

void check_region(Region& region, const Access& a) {
  if (!region.writable) {
    if (a.write) report("input " + region.name + ": " + a.what());
    return;
  }
  const int thread = running_thread();
  bool race = false, unwritten = false;
  for (Moment* m = &region.writes[a.address - region.begin]; m < &region.writes[a.address - region.begin] + a.size;
       ++m) {
    const bool of_this_kernel = m->thread >= 0 && m->barrier >= timeline.launch_start;
    race |= of_this_kernel && !(m->barrier >= timeline.block_start && timeline.is_past(*m, thread));
    if (a.write) *m = {timeline.barrier, timeline.warp_barrier[thread / kLanes], thread};
    else unwritten |= m->thread < 0;
  }
  if (race) report("output " + region.name + (a.write ? ": written twice, " : ": race, ") + a.what());
  if (unwritten) report("output " + region.name + ": not written before, " + a.what());
}

// What the program cannot change: code and its tables.
bool is_constant(const Access& a) {
  using Segments = std::vector<std::pair<uintptr_t, uintptr_t>>;
  static const Segments segments = [] {
    Segments found;
    const auto add = [](dl_phdr_info* library, std::size_t, void* to) {
      for (int i = 0; i < library->dlpi_phnum; ++i) {
        const auto& part = library->dlpi_phdr[i];
        const uintptr_t begin = library->dlpi_addr + part.p_vaddr;
        if (part.p_type == PT_LOAD && (part.p_flags & PF_W) == 0) {
          static_cast<Segments*>(to)->emplace_back(begin, begin + part.p_memsz);
        }
      }
      return 0;
    };
    dl_iterate_phdr(add, &found);
    return found;
  }();
  return !a.write &&
         std::any_of(segments.begin(), segments.end(), [&](const auto& s) { return a.within(s.first, s.second); });
}

void check(const void* address, std::size_t size, bool write, const void* code) {
  if (running_thread() < 0 || on_own_stack(address, size)) return;
  const Access a{reinterpret_cast<uintptr_t>(address), size, write, code};
  if (a.within(&builtins, sizeof builtins)) return;
  if (is_parameter(address, size)) {
    if (write) report("kernel parameter: " + a.what());
    return;
  }
  ++accesses;
  const bool one_number = size == 2 || size == 4 || size == 8 || size == 16;
  if (one_number && a.address % size != 0) {  // the processor might end the program
    report("misaligned, " + std::to_string(size) + " bytes, " + a.what());
    return stop_launch();
  }
  if (preempts()) give_way();
  if (a.within(shared_memory, sizeof shared_memory)) return check_shared(a);
  count_traffic(a.address, size, write, code);
  if (regions.empty()) return;
  for (auto& region : regions) {
    if (a.within(region.begin, region.end)) return check_region(region, a);
  }
  if (is_constant(a)) return;
  report("global memory: out of bounds, " + a.what());
  stop_launch();
}

}  // namespace

void set_dynamic_shared(std::size_t bytes) { dynamic_bytes = bytes; }

void fill_shared(int garbage, std::mt19937_64& chance) {
  if (garbage >= 0) {
    std::fill(std::begin(shared_memory), std::end(shared_memory), static_cast<unsigned char>(garbage));
  } else {
    for (auto& byte : shared_memory) byte = static_cast<unsigned char>(chance());
  }
  static_arrays.clear();
  static_bytes = 0;
  shared_end = (dynamic_bytes + 3 * kGap - 1) / kGap * kGap;
}

unsigned char* dynamic_shared() { return shared_memory + kGap; }

void* static_shared(int array, std::size_t bytes) {
  const auto [entry, added] = static_arrays.try_emplace(array);
  if (added) {
    entry->second = {shared_end, bytes};
    shared_end += (bytes + 2 * kGap - 1) / kGap * kGap;
    static_bytes += bytes;
    if (dynamic_bytes + static_bytes > kSharedLimit || static_arrays.size() > kMaxArrays) {
      report("more than 48 KiB of shared memory");
      stop_launch();
    }
  }
  return shared_memory + entry->second.begin;
}

void add_region(const void* begin, std::size_t bytes, bool writable, const char* name) {
  const auto address = reinterpret_cast<uintptr_t>(begin);
  regions.push_back({address, address + bytes, writable, name, std::vector<Moment>(writable ? bytes : 0)});
}
void clear_regions() { regions.clear(); }

void report_unwritten() {
  for (const auto& region : regions) {
    const auto missing =
        std::count_if(region.writes.begin(), region.writes.end(), [](const Moment& m) { return m.thread < 0; });
    if (missing > 0) report("output " + region.name + ": " + std::to_string(missing) + " bytes were never written");
  }
}

uint64_t checked_accesses() { return accesses; }

}  // namespace cuda_emulation

// ---- what -fsanitize=thread calls ----

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
#define HITPOOL_CODE __builtin_return_address(0)
#define HITPOOL_ACCESS(name, bytes)                                                                     \
  void __tsan_read##name(void* at) { cuda_emulation::check(at, bytes, false, HITPOOL_CODE); }           \
  void __tsan_write##name(void* at) { cuda_emulation::check(at, bytes, true, HITPOOL_CODE); }           \
  void __tsan_unaligned_read##name(void* at) { cuda_emulation::check(at, bytes, false, HITPOOL_CODE); } \
  void __tsan_unaligned_write##name(void* at) { cuda_emulation::check(at, bytes, true, HITPOOL_CODE); }
HITPOOL_ACCESS(1, 1)
HITPOOL_ACCESS(2, 2)
HITPOOL_ACCESS(4, 4)
HITPOOL_ACCESS(8, 8)
HITPOOL_ACCESS(16, 16)
void __tsan_read_range(void* at, std::size_t bytes) { cuda_emulation::check(at, bytes, false, HITPOOL_CODE); }
void __tsan_write_range(void* at, std::size_t bytes) { cuda_emulation::check(at, bytes, true, HITPOOL_CODE); }
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  cuda_emulation::check(from, bytes, false, HITPOOL_CODE);
  cuda_emulation::check(to, bytes, true, HITPOOL_CODE);
  return __builtin_memcpy(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  cuda_emulation::check(to, bytes, true, HITPOOL_CODE);
  return __builtin_memset(to, value, bytes);
}
}
