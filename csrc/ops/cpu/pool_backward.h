// Backward of weighted_pool. With S = max(sum(p), min_weight_sum) and h = grad_mean / S + grad_sum, of one track:
//
//   dL/dlogit[m] = p (1 - p) (h x[m] - grad_mean mean / S)
//   dL/dx[m]     = sum over tracks of  p h  +  grad_max and grad_min where m is the extreme hit
//
// The sums come from forward, so that one pass is enough. It goes from block to block of hits: the tracks of the event
// take turns on a block while its gradients are in a cache.
//
// T is the type of the arithmetic, F and L the types that features and logits are stored in.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <algorithm>
#include <bit>
#include <memory>
#include <type_traits>

#include "ops/cpu/scalar.h"
#include "ops/cpu/selection.h"
#include "ops/cpu/vector.h"
#include "ops/cpu/weighted_pool_kernel.h"
#include "ops/weighted_pool_formula.h"

namespace hitpool::cpu {
namespace {

// What one track adds to the gradients of a block of hits.
template <class T, class F>
class TrackGradient {
 public:
  TrackGradient(const PoolInputs& in, const PoolGradients& gradients)
      : in_(in), gradients_(gradients), products_(uninitialized<Vec<T>>(gradients.block + lanes<T>)) {}

  // `values` and `sums` [end - begin, D] belong to the hits [begin, end), `grad_logits` [M] to the row.
  template <class L>
  void add(
      int64_t row, const Selection<T>& selected, int64_t begin, int64_t end, const F* values, T* sums, L* grad_logits) {
    const int64_t D = in_.features;
    grad_ = static_cast<const F*>(gradients_.grad_pooled) + row * 4 * D;
    index_ = gradients_.index + row * 2 * D;
    const T* total = static_cast<const T*>(gradients_.sums) + row * (D + 1);
    const T floor = static_cast<T>(in_.min_weight_sum), weight_sum = total[D];
    norm_ = mean_factor(weight_sum, floor);

    // Extreme hits are recognised among the selected hits, or, if only a small part of them can be in this block, the
    // list of them is searched for those that are.
    const bool recognises = selected.count() < 4 + 128 * (end - begin) / in_.hits;
    for_each_tile<T, kVectorBytes == 64 ? 4 : 2>(D, [&](int64_t d, auto vectors) {
      constexpr int V = vectors();
      const auto tile = [&](auto full, auto extrema) {
        add_tile<V, full(), extrema()>(selected, d, begin, values, sums);
      };
      const auto tile_with = [&](auto extrema) {
        (V * lanes<T> <= D - d) ? tile(std::true_type{}, extrema) : tile(std::false_type{}, extrema);
      };
      recognises ? tile_with(std::true_type{}) : tile_with(std::false_type{});
    });
    if (!recognises) {
      add_extrema(index_, grad_ + 2 * D, begin, end, sums);
      add_extrema(index_ + D, grad_ + 3 * D, begin, end, sums);
    }
    write_grad_logits(selected, mean_pull(mean_dot(total) * norm_, weight_sum, floor), grad_logits);
  }

 private:
  // Adds p h to the sums, and h x of the tile to the products.
  template <int V, bool kFull, bool kExtrema>
  void add_tile(const Selection<T>& selected, int64_t d, int64_t begin, const F* values, T* sums) {
    const int64_t D = in_.features, width = D - d;
    const auto part = [&](int v) { return kFull ? lanes<T> : width - v * lanes<T>; };
    const int32_t* const hit = selected.hit();
    const T* const weights = selected.weight();
    const int64_t count = selected.count();
    Vec<T>* const products = products_.get();
    Vec<T> h[V], grad_high[V], grad_low[V];
    IndexVec<T> high_hit[V], low_hit[V];
    for (int v = 0; v < V; ++v) {
      const int64_t at = d + v * lanes<T>;
      h[v] = multiply_add<T>(load<T>(grad_ + at, part(v)), broadcast<T>(norm_), load<T>(grad_ + D + at, part(v)));
      if constexpr (kExtrema) {
        grad_high[v] = load<T>(grad_ + 2 * D + at, part(v));
        grad_low[v] = load<T>(grad_ + 3 * D + at, part(v));
        high_hit[v] = load_hits<T>(index_ + at, part(v));
        low_hit[v] = load_hits<T>(index_ + D + at, part(v));
      }
    }
    for (int64_t k = 0; k < count; ++k) {
      const int64_t offset = (hit[k] - begin) * D + d;
      const Vec<T> weight = broadcast<T>(weights[k]);
      Vec<T> product{};
      for (int v = 0; v < V; ++v) {
        product = multiply_add<T>(h[v], load<T>(values + offset + v * lanes<T>, part(v)), product);
        T* const to = sums + offset + v * lanes<T>;
        Vec<T> sum = multiply_add<T>(weight, h[v], load<T>(to, part(v)));
        if constexpr (kExtrema) {
          const IndexVec<T> this_hit = IndexVec<T>{} + hit[k];
          sum = high_hit[v] == this_hit ? sum + grad_high[v] : sum;
          sum = low_hit[v] == this_hit ? sum + grad_low[v] : sum;
        }
        store<T, T>(to, sum, part(v));
      }
      products[k] = d == 0 ? product : products[k] + product;
    }
  }

  // Adds the gradients of the maxima, or of the minima, whose hits are in [begin, end).
  void add_extrema(const int32_t* hits, const F* grad, int64_t begin, int64_t end, T* sums) const {
    constexpr int W = lanes<float>;
    const int64_t D = in_.features;
    const auto first = static_cast<int32_t>(begin), last = static_cast<int32_t>(end);
    for (int64_t d = 0; d < D; d += W) {
      const IndexVec<float> hit = load_hits<float>(hits + d, D - d);
      uint32_t here = bits_where<float>((hit >= first) & (hit < last));
      for (; here != 0; here &= here - 1) {
        const int64_t at = d + std::countr_zero(here);
        sums[(hits[at] - begin) * D + at] += to<T>(grad[at]);
      }
    }
  }

  // grad_mean * sum(p x)
  T mean_dot(const T* total) const {
    Vec<T> product{};
    for (int64_t d = 0; d < in_.features; d += lanes<T>) {
      const int64_t width = in_.features - d;
      product = multiply_add<T>(load<T>(grad_ + d, width), load<T>(total + d, width), product);
    }
    return horizontal_sum<T>(product);
  }

  template <class L>
  void write_grad_logits(const Selection<T>& selected, T pull, L* grad_logits) {
    constexpr int W = lanes<T>;
    const int64_t count = selected.count();
    std::fill_n(products_.get() + count, W - 1, Vec<T>{});
    for (int64_t k = 0; k < count; k += W) {
      const Vec<T> dot = horizontal_sums<T>(products_.get() + k);
      T grad[W];
      for (int l = 0; l < W; ++l) grad[l] = logit_grad(dot[l], pull, selected.weight()[k + l]);
      for (int l = 0; l < std::min<int64_t>(count - k, W); ++l) {
        grad_logits[selected.hit()[k + l]] = From<L, T>::convert(grad[l]);
      }
    }
  }

  const PoolInputs& in_;
  const PoolGradients& gradients_;
  const F* grad_ = nullptr;         // [4, D] of the track
  const int32_t* index_ = nullptr;  // [2, D]
  T norm_ = 0;
  std::unique_ptr<Vec<T>[]> products_;  // h x of each selected hit, before its lanes are added up
};

// Writes zeros. Memory that is in no cache is asked for ahead of the stores, which would wait for it.
template <class T>
void clear(T* to, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(T), kDistance = 32 * kLine;
  int64_t i = 0;
  for (; i + kLine <= count; i += kLine) {
    __builtin_prefetch(to + i + kDistance, 1);
    std::fill_n(to + i, kLine, T{});
  }
  std::fill_n(to + i, count - i, T{});
}

// While one track is at work on a block, the next one is selected, and the logits of those after it are on their way:
// in a large event, tracks are far from each other in memory.
template <class T, class F, class L>
void backward_blocks(const PoolInputs& in, const PoolGradients& gradients, int64_t begin, int64_t end) {
  constexpr int64_t kTracksAhead = 4;
  constexpr bool kSameType = std::is_same_v<T, F>;  // reduced precision is summed up elsewhere and rounded once
  const int64_t D = in.features, M = in.hits, N = in.tracks;
  const int64_t blocks = (M + gradients.block - 1) / gradients.block;
  const auto* const logits = static_cast<const L*>(in.logits);
  const auto* const values = static_cast<const F*>(in.values);
  auto* const grad_logits = static_cast<L*>(gradients.grad_logits);
  auto* const grad_values = static_cast<F*>(gradients.grad_values);
  const auto scratch = uninitialized<T>(kSameType ? 0 : gradients.block * D);
  Selection<T> selections[2] = {{in, gradients.block}, {in, gradients.block}};
  TrackGradient<T, F> gradient(in, gradients);

  struct Step {
    int64_t track, row, first, last;  // hits [first, last) of a row
  };
  const auto step_of = [&](int64_t number) -> Step {
    const int64_t block = number / N, track = number % N;
    const int64_t event = block / blocks, first = block % blocks * gradients.block;
    return {track, event * N + track, first, std::min(first + gradients.block, M)};
  };
  for (int64_t number = begin * N; number <= end * N; ++number) {
    auto& next = selections[number % 2];
    if (number < end * N) {
      const Step step = step_of(std::min(number + kTracksAhead, end * N - 1));
      for (int64_t m = step.first; m < step.last; m += 64 / sizeof(L)) {
        __builtin_prefetch(logits + step.row * M + m);
        __builtin_prefetch(grad_logits + step.row * M + m, 1);
      }
      const auto [track, row, first, last] = step_of(number);
      next.find(row, first, last);
      next.prefetch(values + row / N * M * D, D);
    }
    if (number > begin * N) {
      const auto& selected = selections[(number - 1) % 2];
      const auto [track, row, first, last] = step_of(number - 1);
      const int64_t offset = (row / N * M + first) * D, count = (last - first) * D;
      T* sums;  // [last - first, D]
      if constexpr (kSameType) sums = grad_values + offset;
      else sums = scratch.get();
      if (track == 0) clear(sums, count);
      L* const grad_row = grad_logits + row * M;
      std::fill_n(grad_row + first, last - first, L{});
      if (selected.count() > 0) {
        gradient.add(row, selected, first, last, values + offset, sums, grad_row);
      }
      if constexpr (!kSameType) {
        if (track == N - 1) {
          for (int64_t i = 0; i < count; ++i) grad_values[offset + i] = From<F, T>::convert(sums[i]);
        }
      }
    }
    if (number < end * N) next.weigh();
  }
}

}  // namespace
}  // namespace hitpool::cpu
