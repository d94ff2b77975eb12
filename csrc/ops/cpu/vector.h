// Vectors over features, as wide as the instruction set.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ops/cpu/scalar.h"

namespace hitpool::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kTile = 4;  // vectors of features that are held in registers at once

template <class T>
struct Vector {
  using Int = std::conditional_t<std::is_same_v<T, float>, int32_t, int64_t>;
  static constexpr int size = kVectorBytes / sizeof(T);
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef Int index __attribute__((vector_size(kVectorBytes)));
};
template <class T> using Vec = typename Vector<T>::type;
template <class T> using IndexVec = typename Vector<T>::index;
template <class T> constexpr int lanes = Vector<T>::size;

// The first `width` lanes; the others are 0.
template <class T, class F>
Vec<T> load(const F* from, int64_t width) {
  Vec<T> x;
  if constexpr (std::is_same_v<T, F>) {
    if (width >= lanes<T>) {
      std::memcpy(&x, from, sizeof x);
      return x;
    }
  }
  T lane[lanes<T>] = {};
  if (width >= lanes<T>) {
    for (int l = 0; l < lanes<T>; ++l) lane[l] = to<T>(from[l]);
  } else {
    for (int l = 0; l < width; ++l) lane[l] = to<T>(from[l]);
  }
  std::memcpy(&x, lane, sizeof x);
  return x;
}

template <class F, class T>
void store(F* to, Vec<T> x, int64_t width) {
  if constexpr (std::is_same_v<T, F>) {
    if (width >= lanes<T>) {
      std::memcpy(to, &x, sizeof x);
      return;
    }
  }
  for (int l = 0; l < std::min<int64_t>(width, lanes<T>); ++l) to[l] = From<F, T>::convert(x[l]);
}

template <class T>
T horizontal_sum(Vec<T> x) {
  T lane[lanes<T>];
  std::memcpy(lane, &x, sizeof x);
  for (int half = lanes<T> / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
  }
  return lane[0];
}

// Calls body(first feature, std::integral_constant<number of vectors>) for tiles that cover D features.
template <class T, class Body>
void for_each_tile(int64_t features, Body&& body) {
  int64_t d = 0;
  for (; features - d > 2 * lanes<T>; d += kTile * lanes<T>) body(d, std::integral_constant<int, kTile>{});
  if (features - d > lanes<T>) {
    body(d, std::integral_constant<int, 2>{});
  } else if (features - d > 0) {
    body(d, std::integral_constant<int, 1>{});
  }
}

}  // namespace
}  // namespace hitpool::cpu
