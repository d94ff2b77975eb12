// Numbers as they are stored (S: float64, float32, bfloat16, float16) and calculated with (T: float, double).
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <bit>
#include <cstdint>

namespace hitpool::cpu {
namespace {

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

template <class T, class S>
T to(S value) {
  return static_cast<T>(value);
}
template <class T>
T to(BFloat16 value) {
  return static_cast<T>(std::bit_cast<float>(uint32_t{value.bits} << 16));
}
template <class T>
T to(Float16 value) {
  // Shifted into place, a half is a float with an exponent that is 112 too small.
  const float magnitude = std::bit_cast<float>((value.bits & 0x7fffu) << 13) * 0x1p112f;
  const uint32_t infinite = (value.bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
  const uint32_t sign = (value.bits & 0x8000u) << 16;
  return static_cast<T>(std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | infinite | sign));
}

template <class S, class T>
struct From {
  static S convert(T value) { return static_cast<S>(value); }
};
template <class T>
struct From<BFloat16, T> {
  static BFloat16 convert(T value) {
    const auto x = static_cast<float>(value);
    const auto bits = std::bit_cast<uint32_t>(x);
    if (x != x) return {0x7fc0};
    return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};  // to nearest, ties to even
  }
};
template <class T>
struct From<Float16, T> {
  static Float16 convert(T value) {
    const auto x = static_cast<float>(value);
    const auto bits = std::bit_cast<uint32_t>(x);
    const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
    const float magnitude = std::bit_cast<float>(bits & 0x7fffffffu);
    if (x != x) return {static_cast<uint16_t>(sign | 0x7e00u)};
    if (magnitude >= 65520.0f) return {static_cast<uint16_t>(sign | 0x7c00u)};
    uint32_t half;
    if (magnitude < 0x1p-14f) {  // subnormal: the float adder rounds at the last bit of a half
      half = std::bit_cast<uint32_t>(magnitude + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    } else {
      const uint32_t m = std::bit_cast<uint32_t>(magnitude) - (112u << 23);
      half = (m + 0xfffu + ((m >> 13) & 1u)) >> 13;
    }
    return {static_cast<uint16_t>(sign | half)};
  }
};

}  // namespace
}  // namespace hitpool::cpu
