// Vectors as wide as the instruction set, and the few operations on them that plain C++ does not express.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

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

template <class T>
struct Vector {
  using Int = std::conditional_t<std::is_same_v<T, float>, int32_t, int64_t>;
  static constexpr int size = kVectorBytes / sizeof(T);
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef Int index __attribute__((vector_size(kVectorBytes)));
  typedef int32_t hits __attribute__((vector_size(4 * size)));
};
template <class T> using Vec = typename Vector<T>::type;
template <class T> using IndexVec = typename Vector<T>::index;
template <class T> constexpr int lanes = Vector<T>::size;

// Keeps what is passed by reference in registers.
#define HITPOOL_INLINE [[gnu::always_inline]] inline

// Memory that is written before it is read.
template <class T>
std::unique_ptr<T[]> uninitialized(int64_t count) {
  return std::unique_ptr<T[]>(new T[count]);
}

constexpr uint32_t low_bits(int64_t count) { return (uint32_t{1} << count) - 1; }

// ---- load and store the first `width` lanes (all if width >= lanes); the other lanes of a load are 0 ----

template <class T, class F>
Vec<T> load(const F* from, int64_t width) {
  Vec<T> x;
  if (width >= lanes<T>) {
    if constexpr (std::is_same_v<T, F>) {
      std::memcpy(&x, from, sizeof x);
      return x;
    }
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float> && std::is_same_v<F, BFloat16>) {
      const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
      return reinterpret_cast<Vec<T>>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    if constexpr (std::is_same_v<T, float> && std::is_same_v<F, Float16>) {
      return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    }
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, float> && std::is_same_v<F, BFloat16>) {
      const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      return reinterpret_cast<Vec<T>>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    if constexpr (std::is_same_v<T, float> && std::is_same_v<F, Float16>) {
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
#endif
  }
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, F> && std::is_same_v<T, float>) {
    return _mm512_maskz_loadu_ps(low_bits(std::clamp<int64_t>(width, 0, 16)), from);
  }
  if constexpr (std::is_same_v<T, F> && std::is_same_v<T, double>) {
    return _mm512_maskz_loadu_pd(low_bits(std::clamp<int64_t>(width, 0, 8)), from);
  }
#endif
  T lane[lanes<T>] = {};
  for (int l = 0; l < std::min<int64_t>(width, lanes<T>); ++l) lane[l] = to<T>(from[l]);
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
void store_hits(int32_t* to, IndexVec<T> hits, int64_t width) {
  if (width >= lanes<T>) {
    const typename Vector<T>::hits narrow = __builtin_convertvector(hits, typename Vector<T>::hits);
    std::memcpy(to, &narrow, sizeof narrow);
    return;
  }
  for (int l = 0; l < width; ++l) to[l] = static_cast<int32_t>(hits[l]);
}

// The first `width` hits (all if width >= lanes); -1 in the other lanes.
template <class T>
IndexVec<T> load_hits(const int32_t* from, int64_t width) {
  typename Vector<T>::hits narrow;
  if (width >= lanes<T>) {
    std::memcpy(&narrow, from, sizeof narrow);
  } else {
    for (int l = 0; l < lanes<T>; ++l) narrow[l] = l < width ? from[l] : -1;
  }
  return __builtin_convertvector(narrow, IndexVec<T>);
}

// a b + c, rounded once where the instruction set has it. The compiler is told to fuse nothing by itself: code that
// does the same in two places then gives the same result (-ffp-contract=off).
template <class T>
Vec<T> multiply_add(Vec<T> a, Vec<T> b, Vec<T> c) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) return _mm512_fmadd_ps(a, b, c);
  else return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>) return _mm256_fmadd_ps(a, b, c);
  else return _mm256_fmadd_pd(a, b, c);
#else
  return a * b + c;
#endif
}

// As a sum, which stays in a register: of a plain copy the compiler makes an operand in memory of every use, and
// pooling takes 1.2 to 1.9 times as long (g++ 12).
template <class T>
Vec<T> broadcast(T x) {
  return Vec<T>{} + x;
}

// ---- comparisons; NaN in x never wins ----

template <class T>
Vec<T> maximum(Vec<T> x, Vec<T> high) {  // x > high ? x : high
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) return _mm512_max_ps(x, high);
  else return _mm512_max_pd(x, high);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>) return _mm256_max_ps(x, high);
  else return _mm256_max_pd(x, high);
#else
  return x > high ? x : high;
#endif
}

template <class T>
Vec<T> minimum(Vec<T> x, Vec<T> low) {  // x < low ? x : low
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) return _mm512_min_ps(x, low);
  else return _mm512_min_pd(x, low);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>) return _mm256_min_ps(x, low);
  else return _mm256_min_pd(x, low);
#else
  return x < low ? x : low;
#endif
}

// Bit l is set if not x[l] < y, so for NaN too.
template <class T>
uint32_t bits_not_less(Vec<T> x, T y) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) return _mm512_cmp_ps_mask(x, _mm512_set1_ps(y), _CMP_NLT_UQ);
  else return _mm512_cmp_pd_mask(x, _mm512_set1_pd(y), _CMP_NLT_UQ);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>) return _mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_set1_ps(y), _CMP_NLT_UQ));
  else return _mm256_movemask_pd(_mm256_cmp_pd(x, _mm256_set1_pd(y), _CMP_NLT_UQ));
#else
  uint32_t bits = 0;
  for (int l = 0; l < lanes<T>; ++l) bits |= uint32_t{!(x[l] < y)} << l;
  return bits;
#endif
}

// Bit l is set if x[l] is true (-1); false is 0.
template <class T>
uint32_t bits_where(IndexVec<T> x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) return _mm512_movepi32_mask(reinterpret_cast<__m512i>(x));
  else return _mm512_movepi64_mask(reinterpret_cast<__m512i>(x));
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>) return _mm256_movemask_ps(reinterpret_cast<__m256>(x));
  else return _mm256_movemask_pd(reinterpret_cast<__m256d>(x));
#else
  uint32_t bits = 0;
  for (int l = 0; l < lanes<T>; ++l) bits |= uint32_t{x[l] != 0} << l;
  return bits;
#endif
}

// Bit l is flags[l].
template <int kLanes>
uint32_t bits_of(const bool* flags) {
  if constexpr (kLanes < 8) {
    uint32_t bits = 0;
    for (int l = 0; l < kLanes; ++l) bits |= uint32_t{flags[l]} << l;
    return bits;
  } else {
    uint64_t bytes;
    std::memcpy(&bytes, flags, 8);
    const auto bits = static_cast<uint32_t>((bytes * 0x0102040810204080) >> 56);  // gathers the lowest bit of each byte
    if constexpr (kLanes == 16) return bits | bits_of<8>(flags + 8) << 8;
    return bits;
  }
}

template <class T>
bool all_true(IndexVec<T> mask) {
  return bits_where<T>(mask) == low_bits(lanes<T>);
}

// ---- pack: move the lanes whose bits are set to the front. Writes a whole vector: `out` needs room for it ----

#if defined(__AVX2__) && !defined(__AVX512F__)
constexpr auto kPackedLanes = [] {  // the positions of the set bits of a byte, first to last
  std::array<std::array<uint8_t, 8>, 256> table{};
  for (unsigned bits = 0; bits < 256; ++bits) {
    int count = 0;
    for (uint8_t l = 0; l < 8; ++l) {
      if (bits >> l & 1) table[bits][count++] = l;
    }
  }
  return table;
}();

inline __m256i packed_lanes(uint32_t bits) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(kPackedLanes[bits].data())));
}
#endif

template <class T>
void pack(uint32_t bits, Vec<T> x, T* out) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) _mm512_storeu_ps(out, _mm512_maskz_compress_ps(bits, x));
  else _mm512_storeu_pd(out, _mm512_maskz_compress_pd(bits, x));
#else
#if defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>) {
    _mm256_storeu_ps(out, _mm256_permutevar8x32_ps(x, packed_lanes(bits)));
    return;
  }
#endif
  for (int count = 0; bits != 0; bits &= bits - 1) out[count++] = x[std::countr_zero(bits)];
#endif
}

// The numbers `hit` + l of the lanes l.
template <class T>
void pack_hits(uint32_t bits, int32_t hit, int32_t* out) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(bits, _mm512_add_epi32(lane, _mm512_set1_epi32(hit))));
  } else {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i hits = _mm256_maskz_compress_epi32(bits, _mm256_add_epi32(lane, _mm256_set1_epi32(hit)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), hits);
  }
#elif defined(__AVX2__)
  const __m256i hits = _mm256_add_epi32(packed_lanes(bits), _mm256_set1_epi32(hit));
  if constexpr (std::is_same_v<T, float>) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), hits);
  else _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(hits));
#else
  for (int count = 0; bits != 0; bits &= bits - 1) out[count++] = hit + std::countr_zero(bits);
#endif
}

// The same for numbers that are packed already: writes those whose bits are set.
template <class T>
void pack_hits(uint32_t bits, const int32_t* hits, int32_t* out) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) {
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(bits, _mm512_loadu_si512(hits)));
  } else {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(hits));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_maskz_compress_epi32(bits, x));
  }
#else
  for (int count = 0; bits != 0; bits &= bits - 1) out[count++] = hits[std::countr_zero(bits)];
#endif
}

// ---- sums ----

// The lanes whose bits are set, 0 elsewhere.
template <class T>
Vec<T> where(uint32_t bits, Vec<T> x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) return _mm512_maskz_mov_ps(bits, x);
  else return _mm512_maskz_mov_pd(bits, x);
#else
  IndexVec<T> lane;
  for (int l = 0; l < lanes<T>; ++l) lane[l] = bits >> l & 1;
  return lane == 1 ? x : Vec<T>{};
#endif
}

// The same order of additions for every instruction set of the same width: halves are added to halves.
template <class T>
T horizontal_sum(Vec<T> x) {
  IndexVec<T> lane;
  for (int l = 0; l < lanes<T>; ++l) lane[l] = l;
  for (int half = lanes<T> / 2; half > 0; half /= 2) x += __builtin_shuffle(x, lane ^ half);
  return x[0];
}

// Lane l of the result is horizontal_sum(x[l]): the sums are formed together, with few shuffles. Destroys x.
template <class T, int kParts = lanes<T>>
HITPOOL_INLINE Vec<T> horizontal_sums(Vec<T>* x) {  // x [kParts], each with kParts partial sums of its lanes / kParts
  if constexpr (kParts == 1) {
    return x[0];
  } else {
    IndexVec<T> first{};
    for (int l = 0; l < lanes<T>; ++l) first[l] = l / (kParts / 2) * kParts + l % (kParts / 2);
    for (int i = 0; i < kParts / 2; ++i) {
      const Vec<T> a = x[2 * i], b = x[2 * i + 1];
      x[i] = __builtin_shuffle(a, b, first) + __builtin_shuffle(a, b, first + kParts / 2);
    }
    return horizontal_sums<T, kParts / 2>(x);
  }
}

// Calls body(first feature, std::integral_constant<number of vectors>) for tiles that cover D features.
template <class T, int kMost, class Body>
void for_each_tile(int64_t features, Body&& body, int64_t d = 0) {
  for (; features - d > kMost / 2 * lanes<T>; d += kMost * lanes<T>) body(d, std::integral_constant<int, kMost>{});
  if constexpr (kMost > 1) for_each_tile<T, kMost / 2>(features, body, d);
}

}  // namespace
}  // namespace hitpool::cpu
