// Loops over the formulas, in blocks of a fixed size that the compiler turns into vector code. The last block is filled
// up, so that every angle passes through the same instructions and its result does not depend on where it stands.
#include "ops/cpu/pseudorapidity_kernel.h"

#include <algorithm>
#include <type_traits>

#include "ops/cpu/instruction_set.h"
#include "ops/cpu/scalar.h"
#include "ops/pseudorapidity_formula.h"

namespace hitpool::cpu {
namespace {

constexpr int kBlock = 64;            // angles
constexpr int kPrefetchBytes = 2048;  // ahead of the current block

// S: type of the arrays; T: type of the arithmetic.
template <class S>
using Arithmetic = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class S>
Arithmetic<S> pi_of_type() {
  using T = Arithmetic<S>;
  return to<T>(From<S, T>::convert(static_cast<T>(kPiHigh)));
}

// The prefetcher of the processor stops at every page, and page faults of a fresh output stop it too: without this, 10
// million float64 angles take twice the time outside the kernel of the operating system.
template <class S>
void prefetch(const S* block) {
  const char* ahead = reinterpret_cast<const char*>(block) + kPrefetchBytes;
  for (size_t line = 0; line < kBlock * sizeof(S); line += 64) __builtin_prefetch(ahead + line);
}

template <class S>
void forward(const void* theta, void* eta, int64_t begin, int64_t end) {
  using T = Arithmetic<S>;
  const T pi = pi_of_type<S>();
  S filled[kBlock] = {}, last[kBlock];
  for (int64_t i = begin; i < end; i += kBlock) {
    const int64_t count = std::min<int64_t>(kBlock, end - i);
    const S* angles = static_cast<const S*>(theta) + i;
    S* out = static_cast<S*>(eta) + i;
    prefetch(angles);
    if (count < kBlock) {
      std::copy_n(angles, count, filled);
      angles = filled;
      out = last;
    }
#pragma GCC ivdep
    for (int k = 0; k < kBlock; ++k) out[k] = From<S, T>::convert(pseudorapidity_of(to<T>(angles[k]), pi));
    if (count < kBlock) std::copy_n(last, count, static_cast<S*>(eta) + i);
  }
}

template <class S>
void backward(const void* grad, const void* theta, void* result, int64_t begin, int64_t end) {
  using T = Arithmetic<S>;
  const T pi = pi_of_type<S>();
  S filled_grads[kBlock] = {}, filled[kBlock] = {}, last[kBlock];
  for (int64_t i = begin; i < end; i += kBlock) {
    const int64_t count = std::min<int64_t>(kBlock, end - i);
    const S* grads = static_cast<const S*>(grad) + i;
    const S* angles = static_cast<const S*>(theta) + i;
    S* out = static_cast<S*>(result) + i;
    prefetch(grads);
    prefetch(angles);
    if (count < kBlock) {
      std::copy_n(grads, count, filled_grads);
      std::copy_n(angles, count, filled);
      grads = filled_grads;
      angles = filled;
      out = last;
    }
#pragma GCC ivdep
    for (int k = 0; k < kBlock; ++k) {
      out[k] = From<S, T>::convert(pseudorapidity_gradient_of(to<T>(grads[k]), to<T>(angles[k]), pi));
    }
    if (count < kBlock) std::copy_n(last, count, static_cast<S*>(result) + i);
  }
}

}  // namespace

constinit const EtaKernels HITPOOL_TABLE(eta_kernels) = {
    {forward<double>, backward<double>},
    {forward<float>, backward<float>},
    {forward<BFloat16>, backward<BFloat16>},
    {forward<Float16>, backward<Float16>}};

}  // namespace hitpool::cpu
