// Forward of weighted_pool. T is the type of the arithmetic, F the type that features are stored in.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "ops/cpu/scalar.h"
#include "ops/cpu/selection.h"
#include "ops/cpu/vector.h"
#include "ops/cpu/weighted_pool_kernel.h"

namespace hitpool::cpu {
namespace {

// The results so far of one track, for a tile of kVectors vectors of features, in registers. NaN features are not
// seen by maximum and minimum, but they make the sum NaN, see finish().
template <class T, int kVectors, bool kWithIndex>
struct Tile {
  Vec<T> sum[kVectors], high[kVectors], low[kVectors];
  IndexVec<T> high_hit[kVectors], low_hit[kVectors];

  HITPOOL_INLINE explicit Tile(int32_t first_hit) {
    for (int v = 0; v < kVectors; ++v) {
      sum[v] = Vec<T>{};
      high[v] = Vec<T>{} - std::numeric_limits<T>::infinity();
      low[v] = Vec<T>{} + std::numeric_limits<T>::infinity();
      high_hit[v] = low_hit[v] = IndexVec<T>{} + first_hit;
    }
  }

  template <bool kFull, class F>
  HITPOOL_INLINE void add(int32_t hit, T weight, const F* row, int64_t width) {
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> x = load<T>(row + v * lanes<T>, kFull ? lanes<T> : width - v * lanes<T>);
      sum[v] += weight * x;
      if constexpr (kWithIndex) {
        const IndexVec<T> this_hit = IndexVec<T>{} + hit;
        high_hit[v] = x > high[v] ? this_hit : high_hit[v];
        low_hit[v] = x < low[v] ? this_hit : low_hit[v];
      }
      high[v] = maximum<T>(x, high[v]);
      low[v] = minimum<T>(x, low[v]);
    }
  }

  // Of equal extrema the one with the lower hit counts.
  HITPOOL_INLINE void merge(const Tile& other) {
    for (int v = 0; v < kVectors; ++v) {
      sum[v] += other.sum[v];
      if constexpr (kWithIndex) {
        const auto higher = (other.high[v] > high[v]) | ((other.high[v] == high[v]) & (other.high_hit[v] < high_hit[v]));
        const auto lower = (other.low[v] < low[v]) | ((other.low[v] == low[v]) & (other.low_hit[v] < low_hit[v]));
        high_hit[v] = higher ? other.high_hit[v] : high_hit[v];
        low_hit[v] = lower ? other.low_hit[v] : low_hit[v];
      }
      high[v] = maximum<T>(other.high[v], high[v]);
      low[v] = minimum<T>(other.low[v], low[v]);
    }
  }
};

// Adds the selected hits; `values` is the first feature of the tile in hit 0.
template <bool kFull, class T, class F, int V, bool kWithIndex>
HITPOOL_INLINE void add_selected(Tile<T, V, kWithIndex>& tile, const Selection<T>& selected, const F* values, int64_t features, int64_t width) {
  const int32_t* hit = selected.hit();
  const T* weight = selected.weight();
  const int64_t count = selected.count();
  const auto row = [&](int64_t k) {
    const F* ahead = values + hit[k + kAhead] * features;
    for (int v = 0; v < V; ++v) __builtin_prefetch(ahead + v * lanes<T>);
    return values + hit[k] * features;
  };
  int64_t k = 0;
  if constexpr (V <= 2) {  // a second tile halves the chain of dependent additions
    Tile<T, V, kWithIndex> odd(hit[0]);
    for (; k + 2 <= count; k += 2) {
      tile.template add<kFull>(hit[k], weight[k], row(k), width);
      odd.template add<kFull>(hit[k + 1], weight[k + 1], row(k + 1), width);
    }
    if (k < count) tile.template add<kFull>(hit[k], weight[k], row(k), width);
    tile.merge(odd);
  } else {
    for (; k < count; ++k) tile.template add<kFull>(hit[k], weight[k], row(k), width);
  }
}

// Where the results of a track go.
template <class F>
struct Output {
  F* pooled;       // [4, D]
  int32_t* index;  // [2, D] or null
  int64_t features;
};

// Writes the results of a tile. Returns false, and has written nothing of use, if a sum is NaN: whether a feature is
// NaN, and what maximum and minimum are then, is left to pool_exactly().
template <class T, class F, int V, bool kWithIndex>
HITPOOL_INLINE bool finish(const Tile<T, V, kWithIndex>& tile, T norm, int64_t d, const Output<F>& out) {
  IndexVec<T> numbers = ~IndexVec<T>{};
  for (int v = 0; v < V; ++v) {
    const int64_t left = out.features - d - v * lanes<T>;
    if (left <= 0) break;
    numbers &= tile.sum[v] == tile.sum[v];
    F* to = out.pooled + d + v * lanes<T>;
    store<F, T>(to, tile.sum[v] * norm, left);
    store<F, T>(to + out.features, tile.sum[v], left);
    store<F, T>(to + 2 * out.features, tile.high[v], left);
    store<F, T>(to + 3 * out.features, tile.low[v], left);
    if constexpr (kWithIndex) {
      int32_t* hit = out.index + d + v * lanes<T>;
      store_hits<T>(hit, tile.high_hit[v], left);
      store_hits<T>(hit + out.features, tile.low_hit[v], left);
    }
  }
  return all_true<T>(numbers);
}

// One track, feature by feature, with NaN where a selected feature or a weight is NaN.
template <class T, class F>
void pool_exactly(const Selection<T>& selected, T norm, const F* values, const Output<F>& out) {
  const T poison = selected.weight_sum() - selected.weight_sum();  // 0, or NaN if a logit was NaN
  for (int64_t d = 0; d < out.features; ++d) {
    int32_t high_hit = selected.hit()[0], low_hit = high_hit;
    T sum = 0, high = to<T>(values[high_hit * out.features + d]), low = high;
    for (int64_t k = 0; k < selected.count(); ++k) {
      const int32_t hit = selected.hit()[k];
      const T x = to<T>(values[hit * out.features + d]);
      sum += selected.weight()[k] * x;
      // Not <= rather than >: NaN replaces a number and stays.
      if (!(x <= high) && high == high) high = x, high_hit = hit;
      if (!(x >= low) && low == low) low = x, low_hit = hit;
    }
    out.pooled[d] = From<F, T>::convert(sum * norm + poison);
    out.pooled[out.features + d] = From<F, T>::convert(sum + poison);
    out.pooled[2 * out.features + d] = From<F, T>::convert(high + poison);
    out.pooled[3 * out.features + d] = From<F, T>::convert(low + poison);
    if (out.index != nullptr) {
      out.index[d] = high_hit;
      out.index[out.features + d] = low_hit;
    }
  }
}

template <class F>
void no_selected_hit(const Output<F>& out) {
  std::fill_n(out.pooled, 4 * out.features, F{});
  if (out.index != nullptr) std::fill_n(out.index, 2 * out.features, -1);
}

template <class T, bool kWithIndex, class F>
void pool(const Selection<T>& selected, T min_weight_sum, const F* values, const Output<F>& out) {
  if (selected.count() == 0) return no_selected_hit(out);
  const T norm = 1 / std::max(selected.weight_sum(), min_weight_sum);
  constexpr int kMost = kWithIndex && kVectorBytes < 64 ? 2 : 4;  // what fits into the registers
  bool numbers = true;
  for_each_tile<T, kMost>(out.features, [&](int64_t d, auto vectors) {
    constexpr int V = vectors();
    const int64_t width = out.features - d;
    Tile<T, V, kWithIndex> tile(selected.hit()[0]);
    if (width >= V * lanes<T>) {
      add_selected<true>(tile, selected, values + d, out.features, width);
    } else {
      add_selected<false>(tile, selected, values + d, out.features, width);
    }
    numbers &= finish(tile, norm, d, out);
  });
  if (!numbers) pool_exactly(selected, norm, values, out);
}

// Fetches the features of the first selected hits.
template <class T, class F>
void prefetch(const Selection<T>& selected, const F* values, int64_t features) {
  constexpr int64_t kLine = 64 / sizeof(F);
  for (int64_t k = 0; k < std::min<int64_t>(selected.count(), kAhead); ++k) {
    const F* row = values + selected.hit()[k] * features;
    for (int64_t d = 0; d < std::min(features, 4 * kLine); d += kLine) __builtin_prefetch(row + d);
  }
}

template <class T, bool kWithIndex, class F>
void forward_rows(const PoolInputs& in, F* pooled, int32_t* index, int64_t row_begin, int64_t row_end) {
  const int64_t D = in.features;
  const auto values = [&](int64_t row) { return static_cast<const F*>(in.values) + row / in.tracks * in.hits * D; };
  // While one row is pooled, the features of the next one are on their way.
  Selection<T> selections[2] = {{in, in.hits}, {in, in.hits}};
  for (int64_t row = row_begin; row <= row_end; ++row) {
    auto& next = selections[row % 2];
    if (row < row_end) {
      next.find(row, 0, in.hits);
      prefetch(next, values(row), D);
    }
    if (row > row_begin) {
      const int64_t done = row - 1;
      const Output<F> out = {pooled + done * 4 * D, kWithIndex ? index + done * 2 * D : nullptr, D};
      pool<T, kWithIndex>(selections[done % 2], static_cast<T>(in.min_weight_sum), values(done), out);
    }
    if (row < row_end) next.weigh();
  }
}

}  // namespace
}  // namespace hitpool::cpu
