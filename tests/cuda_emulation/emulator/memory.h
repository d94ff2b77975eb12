// Shared memory, and the check of every access of kernels that were compiled with -fsanitize=thread: the calls that
// the compiler puts before each access come here.
#pragma once
#include <cstddef>
#include <random>

namespace cuda_emulation {

constexpr std::size_t kSharedLimit = 48 << 10;  // that a kernel may use without asking for more

void set_dynamic_shared(std::size_t bytes);
void fill_shared(int garbage, std::mt19937_64& chance);  // with what a block must not rely on

// An array that kernels may use; an output must be written, each byte once per kernel and before it is read. From the
// first one on, everything else is out of bounds.
void add_region(const void* begin, std::size_t bytes, bool writable, const char* name);
void clear_regions();
void report_unwritten();  // outputs of which a byte was never written

uint64_t checked_accesses();

}  // namespace cuda_emulation
