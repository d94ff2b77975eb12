// Runs the blocks of a grid: which thread runs next, who waits for whom, and what is ordered with what.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cuda_emulation.h"

namespace cuda_emulation {

constexpr int kLanes = 32, kMaxWarps = 8, kMaxThreads = kMaxWarps * kLanes;  // of a block: as many as the kernels use

// What a kernel must not depend on.
struct Schedule {
  enum Order {
    ascending,   // the first thread that can run does
    descending,  // the last one
    random,
    priorities,  // whole warps hurry or lag, for a while
  };
  uint64_t seed = 0;
  Order order = priorities;
  int preempt_one_in = 0;  // memory accesses, of which one gives way to other threads; 0: none
  int garbage = 0xff;      // what shared memory holds at first; negative: random bytes
  unsigned max_grid = 0;   // fewer blocks than were asked for; 0: as many
};
void set_schedule(const Schedule&);

// Barriers are the only things that order memory accesses of two threads of a block: votes and shuffles do not.
struct Moment {
  uint32_t barrier = 0, warp_barrier = 0;
  int thread = -1;
};
struct Timeline {
  uint32_t barrier = 1;  // grows with every block and every __syncthreads
  uint32_t block_start = 1, launch_start = 1;
  uint32_t warp_barrier[kMaxWarps] = {};  // grows with every __syncwarp of all lanes
  uint32_t meetings[kMaxWarps] = {};      // grows with everything at which a warp meets

  // An access of this block, or of an earlier kernel: has it surely happened?
  bool is_past(const Moment& before, int thread) const {
    return before.barrier < barrier || before.thread == thread ||
           (before.thread / kLanes == thread / kLanes && before.warp_barrier < warp_barrier[thread / kLanes]);
  }
};
extern Timeline timeline;

int running_thread();  // -1 outside of a kernel
bool on_own_stack(const void* address, std::size_t size);
bool is_parameter(const void* address, std::size_t size);
bool preempts();                       // by chance, as the schedule says
void give_way();                       // to other threads
void stop_launch();                    // the running thread never goes on
int64_t next_visit(const void* code);  // how often the running thread came to this place since its last meeting

struct Counters {
  uint64_t switches = 0, blocks = 0, launches = 0;
};
extern Counters counters;

}  // namespace cuda_emulation
