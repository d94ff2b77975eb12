// The selected hits of one track, found in two steps: find() compares logits and packs the candidates, weigh() takes
// their sigmoids. A caller who does other work in between spares the processor the wait for packed vectors that are
// still on their way to the cache.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>

#include "ops/cpu/exponential.h"
#include "ops/cpu/vector.h"
#include "ops/cpu/weighted_pool_kernel.h"
#include "ops/weighted_pool_formula.h"

namespace hitpool::cpu {
namespace {

constexpr int kAhead = 16;  // rows of features that are fetched before they are needed

template <class T>
class Selection {
 public:
  Selection(const PoolInputs& in, int64_t most_hits)
      : in_(in),
        threshold_(static_cast<T>(in.threshold)),
        cut_(logit_cut(threshold_)),
        hit_(uninitialized<int32_t>(most_hits + kRoom)),
        weight_(uninitialized<T>(most_hits + kRoom)) {}

  // Finds the hits of [begin, end) that are valid and may have p >= threshold.
  void find(int64_t row, int64_t begin, int64_t end) {
    const bool* valid = in_.valid == nullptr ? nullptr : in_.valid + row / in_.tracks * in_.hits;
    switch (in_.logits_dtype) {
      case Dtype::float64: return find(static_cast<const double*>(in_.logits) + row * in_.hits, valid, begin, end);
      case Dtype::float32: return find(static_cast<const float*>(in_.logits) + row * in_.hits, valid, begin, end);
      case Dtype::bfloat16: return find(static_cast<const BFloat16*>(in_.logits) + row * in_.hits, valid, begin, end);
      case Dtype::float16: return find(static_cast<const Float16*>(in_.logits) + row * in_.hits, valid, begin, end);
    }
  }

  // Keeps those that have. NaN counts as selected, so that it is not hidden.
  void weigh() {
    constexpr int W = lanes<T>;
    int32_t* const hit = hit_.get();
    T* const weight = weight_.get();
    const T threshold = threshold_;
    const int64_t candidates = count_;
    int64_t count = 0;
    Vec<T> sum{};
    for (int64_t k = 0; k < candidates; k += W) {
      const int64_t left = std::min<int64_t>(candidates - k, W);
      const Vec<T> p = sigmoid<T>(load<T>(weight + k, W));
      const uint32_t bits = bits_not_less<T>(p, threshold) & low_bits(left);
      sum += where<T>(bits, p);
      if (count == k && bits == low_bits(left)) {
        store<T, T>(weight + k, p, W);
      } else {
        pack_hits<T>(bits, hit + k, hit + count);
        pack<T>(bits, p, weight + count);
      }
      count += std::popcount(bits);
    }
    if (count > 0) std::fill_n(hit + count, kAhead, hit[count - 1]);
    count_ = count;
    weight_sum_ = horizontal_sum<T>(sum);
  }

  void select(int64_t row, int64_t begin, int64_t end) {
    find(row, begin, end);
    weigh();
  }

  // Fetches the features of the first ones; `values` is the first feature of hit 0.
  template <class F>
  void prefetch(const F* values, int64_t features) const {
    constexpr int64_t kLine = 64 / sizeof(F);
    for (int64_t k = 0; k < std::min<int64_t>(count_, kAhead); ++k) {
      const F* row = values + hit_[k] * features;
      for (int64_t d = 0; d < std::min(features, 4 * kLine); d += kLine) __builtin_prefetch(row + d);
    }
  }

  int64_t count() const { return count_; }
  const int32_t* hit() const { return hit_.get(); }  // ascending; after the last one it is repeated kAhead times
  const T* weight() const { return weight_.get(); }  // sigmoid(logit)

  T weight_sum() const { return weight_sum_; }

 private:
  static constexpr int kRoom = 4 * lanes<T> + kAhead;  // for whole vectors after the last hit

  template <class L>
  void find(const L* logits, const bool* valid, int64_t begin, int64_t end) {
    constexpr int W = lanes<T>;
    constexpr int kVectors = 4;
    int32_t* const hit = hit_.get();
    T* const weight = weight_.get();
    const T cut = cut_;
    int64_t candidates = 0;
    const auto append = [&](uint32_t bits, Vec<T> x, int64_t m) {
      pack<T>(bits, x, weight + candidates);
      pack_hits<T>(bits, static_cast<int32_t>(m), hit + candidates);
      candidates += std::popcount(bits);
    };
    int64_t m = begin;
    for (; m + kVectors * W <= end; m += kVectors * W) {
      Vec<T> x[kVectors];
      uint32_t bits[kVectors], any = 0;
      for (int v = 0; v < kVectors; ++v) {
        x[v] = load<T>(logits + m + v * W, W);
        bits[v] = bits_not_less<T>(x[v], cut);
        any |= bits[v];
      }
      if (any == 0) continue;
      for (int v = 0; v < kVectors; ++v) {
        if (valid != nullptr) bits[v] &= bits_of<W>(valid + m + v * W);
        append(bits[v], x[v], m + v * W);
      }
    }
    for (; m < end; m += W) {
      const int width = static_cast<int>(std::min<int64_t>(end - m, W));
      const Vec<T> x = load<T>(logits + m, width);
      uint32_t bits = bits_not_less<T>(x, cut) & low_bits(width);
      if (valid != nullptr) {
        if (width == W) {
          bits &= bits_of<W>(valid + m);
        } else {
          for (int l = 0; l < width; ++l) bits &= ~(uint32_t{!valid[m + l]} << l);
        }
      }
      append(bits, x, m);
    }

    count_ = candidates;
  }

  const PoolInputs& in_;
  T threshold_, cut_;
  int64_t count_ = 0;
  T weight_sum_ = 0;
  std::unique_ptr<int32_t[]> hit_;
  std::unique_ptr<T[]> weight_;
};

}  // namespace
}  // namespace hitpool::cpu
