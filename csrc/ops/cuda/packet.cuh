// Numbers as they are stored (S: float64, float32, bfloat16, float16) and as they are calculated with (T: float or
// double), and packets: neighbouring numbers that a lane moves with one instruction.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <type_traits>

#include "ops/dtype.h"

namespace hitpool::cuda {
namespace {

template <class T, class S>
__device__ __forceinline__ T to(S value) {
  if constexpr (std::is_same_v<S, __half>) {
    return static_cast<T>(__half2float(value));
  } else if constexpr (std::is_same_v<S, __nv_bfloat16>) {
    return static_cast<T>(__bfloat162float(value));
  } else {
    return static_cast<T>(value);
  }
}

template <class S, class T>
__device__ __forceinline__ S stored(T value) {
  if constexpr (std::is_same_v<S, __half>) {
    return __float2half_rn(static_cast<float>(value));
  } else if constexpr (std::is_same_v<S, __nv_bfloat16>) {
    return __float2bfloat16_rn(static_cast<float>(value));
  } else {
    return static_cast<S>(value);
  }
}

// body(S{})
template <class Body>
cudaError_t with_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::float64: return body(double{});
    case Dtype::float32: return body(float{});
    case Dtype::bfloat16: return body(__nv_bfloat16{});
    case Dtype::float16: return body(__half{});
  }
  return cudaErrorInvalidValue;
}

// How many numbers a packet has: 16 bytes of float or double, 8 of the half types.
template <class S>
constexpr int kPacket = sizeof(S) == 8 ? 2 : 4;

template <class S, int n = kPacket<S>>
struct alignas(n * sizeof(S)) Packet {
  S x[n];
};

// Pointers to packets are pointers to the first of their numbers.
template <class S, int n>
__device__ __forceinline__ Packet<S, n> whole_packet(const S* from) {
  return *reinterpret_cast<const Packet<S, n>*>(from);
}

// As one number: nvcc 13.0 would store the packet number by number.
template <class S, int n>
__device__ __forceinline__ void store_whole(S* to, const Packet<S, n>& packet) {
  using Whole = std::conditional_t<sizeof(packet) == 16, unsigned __int128, unsigned long long>;
  static_assert(sizeof(packet) == sizeof(Whole));
  Whole whole;
  std::memcpy(&whole, &packet, sizeof(whole));
  *reinterpret_cast<Whole*>(to) = whole;
}

// The features that one lane holds, `width` of the numbers of a packet. Aligned: every packet lies on a multiple of its
// size, and width is 0 or all.
template <bool aligned>
struct Columns {
  int width;
};

template <int n, class S, bool aligned>
__device__ __forceinline__ Packet<S, n> load_packet(const S* from, const Columns<aligned>& columns) {
  Packet<S, n> packet{};
  if constexpr (aligned) {
    if (columns.width > 0) packet = whole_packet<S, n>(from);
  } else {
#pragma unroll
    for (int v = 0; v < n; ++v) {
      if (v < columns.width) packet.x[v] = from[v];
    }
  }
  return packet;
}

template <class S, class T, int n, bool aligned>
__device__ __forceinline__ void store_packet(S* to, const T (&value)[n], const Columns<aligned>& columns) {
  Packet<S, n> packet;
#pragma unroll
  for (int v = 0; v < n; ++v) packet.x[v] = stored<S>(value[v]);
  if constexpr (aligned) {
    if (columns.width > 0) store_whole(to, packet);
  } else {
#pragma unroll
    for (int v = 0; v < n; ++v) {
      if (v < columns.width) to[v] = packet.x[v];
    }
  }
}

}  // namespace
}  // namespace hitpool::cuda
