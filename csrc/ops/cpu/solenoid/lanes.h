// Four or eight numbers at once. With fewer in a register of the instruction set, the compiler takes several registers.
#pragma once
#include "ops/cpu/fit/numbers.h"

namespace hitpool::cpu::solenoid {
using namespace fit;
namespace {

typedef double Four __attribute__((vector_size(4 * sizeof(double))));
typedef double Eight __attribute__((vector_size(8 * sizeof(double))));

template <typename Lanes>
[[gnu::always_inline]] inline Lanes load(const double* from) {
  Lanes value;
  __builtin_memcpy(&value, from, sizeof(Lanes));
  return value;
}

template <typename Lanes>
[[gnu::always_inline]] inline void store(double* to, const Lanes& value) {
  __builtin_memcpy(to, &value, sizeof(Lanes));
}

// Both coordinates of the hits of a track are the rows of its matrices: eight for each tile of four hits, the first
// coordinates and then the second ones.
inline int row_of(int hit) { return 8 * (hit / 4) + hit % 4; }  // of the first; the second is four rows behind
constexpr int kSecond = 4;

}  // namespace
}  // namespace hitpool::cpu::solenoid
