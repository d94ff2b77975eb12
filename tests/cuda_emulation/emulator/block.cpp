#include "block.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda_runtime_api.h"
#include "fiber.h"
#include "memory.h"
#include "report.h"
#include "traffic.h"

namespace cuda_emulation {

Builtins builtins;
Timeline timeline;
Counters counters;

namespace {

enum class State { ready, at_collective, at_barrier, finished };

struct Thread {
  int number = 0;
  State state = State::finished;
  Collective collective{};
  unsigned mask = 0;
  uint64_t value = 0, result = 0, priority = 0;
  int source = 0, line = 0;
  std::unordered_map<const void*, int64_t> visits;
  Fiber fiber;
};

Thread threads[kMaxThreads];
uint64_t ready[kMaxThreads / 64];  // a bit for each thread
int thread_count = 0;
Thread* running = nullptr;
bool stopped = false;  // the launch has failed

const void* parameters = nullptr;
std::size_t parameter_bytes = 0;
void (*kernel)(const void*) = nullptr;

Schedule schedule;
std::mt19937_64 chance;
cudaError_t last_error = cudaSuccess;
std::mutex one_grid;

const char* name_of(Collective collective) {
  switch (collective) {
    case Collective::sync_warp: return "__syncwarp";
    case Collective::shuffle: return "__shfl_sync";
    case Collective::ballot: return "__ballot_sync";
    case Collective::any: return "__any_sync";
    case Collective::bit_or: return "__reduce_or_sync";
  }
  return "";
}
std::string at_line(int line) { return " line " + std::to_string(line); }
std::string name_of(const Thread& t) { return name_of(t.collective) + at_line(t.line); }

void set_state(Thread& t, State state) {
  t.state = state;
  const uint64_t bit = uint64_t{1} << t.number % 64;
  if (state == State::ready) ready[t.number / 64] |= bit;
  else ready[t.number / 64] &= ~bit;
}

void fail(const std::string& what) {
  report(what);
  stopped = true;
}

template <class Body>
void for_lanes(const Thread& of, Body&& body) {
  Thread* warp = threads + of.number / kLanes * kLanes;
  for (unsigned left = of.mask; left != 0; left &= left - 1) body(warp[std::countr_zero(left)]);
}

// The result of a collective for the lanes of the mask, if they are all there.
void meet_lanes(const Thread& t) {
  bool all = true;
  for_lanes(t, [&](const Thread& other) {
    if (other.number >= thread_count || other.state == State::finished) {
      fail(name_of(t) + ": a lane of the mask has ended");
    } else if (other.state != State::at_collective) {
      all = false;
    } else if (other.collective != t.collective || other.mask != t.mask || other.line != t.line) {
      fail(name_of(t) + " meets " + name_of(other));
    }
  });
  if (!all || stopped) return;

  uint64_t votes = 0, bits = 0;
  for_lanes(t, [&](const Thread& other) {
    bits |= other.value;
    if (other.value != 0) votes |= uint64_t{1} << other.number % kLanes;
  });
  const Thread* warp = threads + t.number / kLanes * kLanes;
  for_lanes(t, [&](Thread& other) {
    switch (t.collective) {
      case Collective::sync_warp: break;
      case Collective::shuffle:
        if (other.source < 0 || other.source >= kLanes || (t.mask >> other.source & 1u) == 0) {
          fail(name_of(t) + " reads a lane that is not in the mask");
        } else {
          other.result = warp[other.source].value;
        }
        break;
      case Collective::ballot: other.result = votes; break;
      case Collective::any: other.result = votes != 0; break;
      case Collective::bit_or: other.result = bits; break;
    }
  });
  for_lanes(t, [](Thread& other) {
    set_state(other, State::ready);
    other.visits.clear();
  });
  ++timeline.meetings[t.number / kLanes];
  if (t.collective == Collective::sync_warp && t.mask == 0xffffffffu) ++timeline.warp_barrier[t.number / kLanes];
}

void meet_threads(const Thread& t) {
  bool all = true;
  for (Thread* other = threads; other < threads + thread_count && !stopped; ++other) {
    if (other->state == State::finished) {
      fail("__syncthreads" + at_line(t.line) + ": some threads have ended");
    } else if (other->state != State::at_barrier) {
      all = false;
    } else if (other->line != t.line) {
      fail("__syncthreads" + at_line(t.line) + " meets" + at_line(other->line));
    }
  }
  if (!all || stopped) return;
  for (Thread* other = threads; other < threads + thread_count; ++other) {
    set_state(*other, State::ready);
    other->visits.clear();
  }
  for (auto& meetings : timeline.meetings) ++meetings;
  ++timeline.barrier;
}

int first_ready(int from) {
  for (int word = from / 64; word < kMaxThreads / 64; ++word) {
    const uint64_t bits = word == from / 64 ? ready[word] >> from % 64 << from % 64 : ready[word];
    if (bits != 0) return word * 64 + std::countr_zero(bits);
  }
  return -1;
}
int last_ready() {
  for (int word = kMaxThreads / 64 - 1; word >= 0; --word) {
    if (ready[word] != 0) return word * 64 + 63 - std::countl_zero(ready[word]);
  }
  return -1;
}

void draw_priorities() {
  uint64_t of_warp[kMaxWarps];
  for (auto& priority : of_warp) priority = chance() << 32;
  for (int i = 0; i < thread_count; ++i) threads[i].priority = of_warp[i / kLanes] | (chance() & 0xffffffffu);
}

// The thread that runs next, or -1.
int choose() {
  switch (schedule.order) {
    case Schedule::ascending: return first_ready(0);
    case Schedule::descending: return last_ready();
    case Schedule::random: {
      const int next = first_ready(static_cast<int>(chance() % thread_count));
      return next >= 0 ? next : first_ready(0);
    }
    case Schedule::priorities: break;
  }
  constexpr int kSteadySteps = 200;  // on average
  if (chance() % kSteadySteps == 0) draw_priorities();
  int best = -1;
  for (int i = first_ready(0); i >= 0; i = i + 1 < kMaxThreads ? first_ready(i + 1) : -1) {
    if (best < 0 || threads[i].priority > threads[best].priority) best = i;
  }
  return best;
}

void thread_main() {
  kernel(parameters);
  set_state(*running, State::finished);
}

void resume(Thread& t) {
  running = &t;
  builtins.thread = dim3(t.number);
  t.fiber.resume(thread_main);
  running = nullptr;
  ++counters.switches;
}

// A block in which nobody can run any more has come to its end, or to a deadlock.
void check_end() {
  std::map<std::string, int> where;
  for (const Thread* t = threads; t < threads + thread_count; ++t) {
    switch (t->state) {
      case State::ready: ++where["running"]; break;
      case State::at_collective: ++where[name_of(*t)]; break;
      case State::at_barrier: ++where["__syncthreads" + at_line(t->line)]; break;
      case State::finished: ++where["the end"]; break;
    }
  }
  if (where.size() == 1 && where.contains("the end")) return;
  std::string text = "threads that do not meet:";
  for (const auto& [name, count] : where) text += " " + std::to_string(count) + " at " + name + ",";
  fail(text.substr(0, text.size() - 1));
}

void run_block() {
  fill_shared(schedule.garbage, chance);
  timeline.block_start = ++timeline.barrier;
  ++counters.blocks;
  for (int i = 0; i < thread_count; ++i) {
    threads[i].number = i;
    threads[i].visits.clear();
    set_state(threads[i], State::ready);
  }
  draw_priorities();
  for (int next = choose(); next >= 0; next = choose()) {
    Thread& t = threads[next];
    resume(t);
    if (stopped) break;
    if (t.state == State::at_collective) meet_lanes(t);
    if (t.state == State::at_barrier) meet_threads(t);
    if (stopped) break;
  }
  if (!stopped) check_end();
  if (stopped) {
    for (int i = 0; i < thread_count; ++i) {
      set_state(threads[i], State::finished);
      threads[i].fiber.abandon();
    }
  }
  end_of_block_traffic();
}

}  // namespace

void set_schedule(const Schedule& to) {
  schedule = to;
  chance.seed(to.seed);
}

int running_thread() { return running == nullptr ? -1 : running->number; }
bool on_own_stack(const void* address, std::size_t size) { return running->fiber.owns(address, size); }
bool is_parameter(const void* address, std::size_t size) {
  const auto at = static_cast<const char*>(address), begin = static_cast<const char*>(parameters);
  return begin <= at && at + size <= begin + parameter_bytes;
}
bool preempts() { return schedule.preempt_one_in > 0 && chance() % schedule.preempt_one_in == 0; }
void give_way() { running->fiber.pause(); }
void stop_launch() {
  stopped = true;
  give_way();
}
int64_t next_visit(const void* code) { return running->visits[code]++; }

uint64_t meet_warp(Collective collective, unsigned mask, uint64_t value, int source, int line) {
  Thread& t = *running;
  t.collective = collective, t.mask = mask, t.value = value, t.source = source, t.line = line;
  if ((mask >> t.number % kLanes & 1u) == 0) fail(name_of(t) + ": the caller is not in the mask");
  set_state(t, State::at_collective);
  t.fiber.pause();
  return t.result;
}

void meet_block(int line) {
  running->line = line;
  set_state(*running, State::at_barrier);
  running->fiber.pause();
}

void run_grid(const Configuration& configuration, const void* from, std::size_t bytes, void (*thread)(const void*)) {
  const std::lock_guard lock(one_grid);
  const auto [grid, block, shared, stream] = configuration;
  ++counters.launches;
  last_error = cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.y != 1 || grid.z != 1 || block.x == 0 || block.x > kMaxThreads || block.y != 1 ||
      block.z != 1 || shared > kSharedLimit) {
    return report(
        "launch of " + std::to_string(grid.x) + " blocks of " + std::to_string(block.x) + " threads with " +
        std::to_string(shared) + " bytes of shared memory");
  }
  parameters = from, parameter_bytes = bytes, kernel = thread;
  thread_count = static_cast<int>(block.x);
  set_dynamic_shared(shared);
  const unsigned blocks = schedule.max_grid != 0 ? std::min(schedule.max_grid, grid.x) : grid.x;
  builtins.threads = block, builtins.blocks = dim3(blocks);
  std::vector<unsigned> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  if (schedule.order == Schedule::descending) std::reverse(order.begin(), order.end());
  if (schedule.order >= Schedule::random) std::shuffle(order.begin(), order.end(), chance);
  stopped = false;
  timeline.launch_start = timeline.barrier + 1;
  for (const unsigned number : order) {
    builtins.block = dim3(number);
    run_block();
    if (stopped) break;
  }
  last_error = stopped ? cudaErrorLaunchFailure : cudaSuccess;
}

}  // namespace cuda_emulation

cudaError_t cudaGetLastError() { return std::exchange(cuda_emulation::last_error, cudaSuccess); }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
  }
  return "unknown error";
}
