// CUDA's language and execution model on a CPU, as much as the kernels of hitpool use. Included before everything else
// in the translated .cu files (translate.py). Every CUDA thread of a block is a fiber: it runs until it meets others at
// a collective or a barrier. Blocks run one after the other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

namespace cuda_emulation {

struct Builtins {
  dim3 thread, block, threads, blocks;
};
extern Builtins builtins;  // of the fiber that runs

enum class Collective { sync_warp, shuffle, ballot, any, bit_or };

// Meets the lanes of the mask; `source` is the lane whose value the result of a shuffle is.
uint64_t meet_warp(Collective, unsigned mask, uint64_t value, int source, int line);
void meet_block(int line);

unsigned char* dynamic_shared();
void* static_shared(int array, std::size_t bytes);  // the same address for the same array in all threads of a block
template <class T>
T* static_shared(int array, std::size_t count) {
  return static_cast<T*>(static_shared(array, count * sizeof(T)));
}

struct Configuration {
  dim3 grid, block;
  std::size_t shared = 0;
  void* stream = nullptr;
};
void run_grid(
    const Configuration&, const void* parameters, std::size_t parameter_bytes, void (*thread)(const void* parameters));

// kernel<<<grid, block, shared, stream>>>(arguments...), the kernel in a lambda. Every thread gets its own copies.
template <class Kernel, class... Arguments>
void launch(const Configuration& configuration, Kernel, Arguments... arguments) {
  const std::tuple<Arguments...> parameters(arguments...);
  run_grid(configuration, &parameters, sizeof parameters, [](const void* from) {
    std::apply(Kernel{}, *static_cast<const std::tuple<Arguments...>*>(from));
  });
}

template <class T>
uint64_t bits_of(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T of_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace cuda_emulation

#define threadIdx (cuda_emulation::builtins.thread)
#define blockIdx (cuda_emulation::builtins.block)
#define blockDim (cuda_emulation::builtins.threads)
#define gridDim (cuda_emulation::builtins.blocks)

inline void __syncthreads(int line = __builtin_LINE()) { cuda_emulation::meet_block(line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  cuda_emulation::meet_warp(cuda_emulation::Collective::sync_warp, mask, 0, 0, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int offset, int line = __builtin_LINE()) {
  using namespace cuda_emulation;
  const int source = static_cast<int>(threadIdx.x % 32) ^ offset;
  return of_bits<T>(meet_warp(Collective::shuffle, mask, bits_of(value), source, line));
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  using namespace cuda_emulation;
  return static_cast<unsigned>(meet_warp(Collective::ballot, mask, predicate != 0, 0, line));
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  using namespace cuda_emulation;
  return meet_warp(Collective::any, mask, predicate != 0, 0, line) != 0;
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, int line = __builtin_LINE()) {
  using namespace cuda_emulation;
  return static_cast<unsigned>(meet_warp(Collective::bit_or, mask, value, 0, line));
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
