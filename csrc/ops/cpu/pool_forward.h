// Forward of weighted_pool. T is the type of the arithmetic, F the type that features are stored in.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>

#include "ops/cpu/scalar.h"
#include "ops/cpu/selection.h"
#include "ops/cpu/vector.h"
#include "ops/cpu/weighted_pool_kernel.h"
#include "ops/weighted_pool_formula.h"

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
      sum[v] = multiply_add<T>(broadcast<T>(weight), x, sum[v]);
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
        const auto higher =
            (other.high[v] > high[v]) | ((other.high[v] == high[v]) & (other.high_hit[v] < high_hit[v]));
        const auto lower = (other.low[v] < low[v]) | ((other.low[v] == low[v]) & (other.low_hit[v] < low_hit[v]));
        high_hit[v] = higher ? other.high_hit[v] : high_hit[v];
        low_hit[v] = lower ? other.low_hit[v] : low_hit[v];
      }
      high[v] = maximum<T>(other.high[v], high[v]);
      low[v] = minimum<T>(other.low[v], low[v]);
    }
  }
};

// The results so far of a group of tracks, in memory: as vectors, so that none of them lies on two lines of the cache.
template <class T, bool kWithIndex>
class State {
 public:
  State(int64_t tracks, int64_t features)
      : vectors_((features + lanes<T> - 1) / lanes<T>),
        results_(uninitialized<Vec<T>>(tracks * 3 * vectors_)),
        hits_(uninitialized<IndexVec<T>>(kWithIndex ? tracks * 2 * vectors_ : 0)) {}

  template <int V>
  HITPOOL_INLINE void load_tile(int64_t track, int64_t d, Tile<T, V, kWithIndex>& tile) {
    copy(track, d, tile, [](const auto& memory, auto& vector) { vector = memory; });
  }

  template <int V>
  HITPOOL_INLINE void save_tile(int64_t track, int64_t d, Tile<T, V, kWithIndex>& tile) {
    copy(track, d, tile, [](auto& memory, const auto& vector) { memory = vector; });
  }

 private:
  template <int V, class Move>
  HITPOOL_INLINE void copy(int64_t track, int64_t d, Tile<T, V, kWithIndex>& tile, Move&& move) {
    const int64_t first = d / lanes<T>;
    for (int v = 0; v < V; ++v) {  // of fixed length, so that the tile stays in registers
      if (first + v >= vectors_) break;
      Vec<T>* at = results_.get() + track * 3 * vectors_ + first + v;
      move(at[0], tile.sum[v]);
      move(at[vectors_], tile.high[v]);
      move(at[2 * vectors_], tile.low[v]);
      if constexpr (kWithIndex) {
        IndexVec<T>* hit = hits_.get() + track * 2 * vectors_ + first + v;
        move(hit[0], tile.high_hit[v]);
        move(hit[vectors_], tile.low_hit[v]);
      }
    }
  }

  int64_t vectors_;                      // of the features of a track
  std::unique_ptr<Vec<T>[]> results_;    // [tracks, 3, vectors_] sum, max, min
  std::unique_ptr<IndexVec<T>[]> hits_;  // [tracks, 2, vectors_]
};

// Adds the selected hits; `values` is the first feature of the tile in hit 0.
template <bool kFull, class T, class F, int V, bool kWithIndex>
HITPOOL_INLINE void add_rows(
    Tile<T, V, kWithIndex>& tile, const Selection<T>& selected, const F* values, int64_t features, int64_t width) {
  const int32_t* hit = selected.hit();
  const T* weight = selected.weight();
  const int64_t count = selected.count();
  const auto row = [&](int64_t k) {
    const F* ahead = values + hit[k + kAhead] * features;
    for (int v = 0; v < V; ++v) __builtin_prefetch(ahead + v * lanes<T>);
    return values + hit[k] * features;
  };
  int64_t k = 0;
  if constexpr (V <= 2) {
    if (features <= 2 * lanes<T>) {  // few features: a second tile halves the chain of dependent additions
      Tile<T, V, kWithIndex> odd(hit[0]);
      for (; k + 2 <= count; k += 2) {
        tile.template add<kFull>(hit[k], weight[k], row(k), width);
        odd.template add<kFull>(hit[k + 1], weight[k + 1], row(k + 1), width);
      }
      if (k < count) tile.template add<kFull>(hit[k], weight[k], row(k), width);
      tile.merge(odd);
      return;
    }
  }
  for (; k < count; ++k) tile.template add<kFull>(hit[k], weight[k], row(k), width);
}

// Where the results of a track go.
template <class T, class F>
struct Output {
  F* pooled;       // [4, D]
  int32_t* index;  // [2, D] or null
  T* sums;         // [D + 1] or null
  int64_t features;

  Output(const PoolOutputs& out, int64_t row, int64_t features) : features(features) {
    pooled = static_cast<F*>(out.pooled) + row * 4 * features;
    index = out.index == nullptr ? nullptr : out.index + row * 2 * features;
    sums = out.sums == nullptr ? nullptr : static_cast<T*>(out.sums) + row * (features + 1);
  }
};

// Writes the results of a tile. Returns false, and has written nothing of use, if a sum is NaN: whether a feature is
// NaN, and what maximum and minimum are then, is left to pool_exactly().
template <class T, class F, int V, bool kWithIndex>
HITPOOL_INLINE bool finish(const Tile<T, V, kWithIndex>& tile, T norm, int64_t d, const Output<T, F>& out) {
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
      store<T, T>(out.sums + d + v * lanes<T>, tile.sum[v], left);
    }
  }
  return all_true<T>(numbers);
}

// One track, feature by feature, with NaN where a selected feature or a weight is NaN.
template <class T, class F>
void pool_exactly(const Selection<T>& selected, T norm, const F* values, const Output<T, F>& out) {
  const T poison = poison_of(selected.weight_sum());
  for (int64_t d = 0; d < out.features; ++d) {
    int32_t high_hit = selected.hit()[0], low_hit = high_hit;
    T sum = 0, high = to<T>(values[high_hit * out.features + d]), low = high;
    for (int64_t k = 0; k < selected.count(); ++k) {
      const int32_t hit = selected.hit()[k];
      const T x = to<T>(values[hit * out.features + d]);
      sum += selected.weight()[k] * x;
      if (exceeds<true>(x, high)) high = x, high_hit = hit;
      if (exceeds<false>(x, low)) low = x, low_hit = hit;
    }
    out.pooled[d] = From<F, T>::convert(sum * norm + poison);
    out.pooled[out.features + d] = From<F, T>::convert(sum + poison);
    out.pooled[2 * out.features + d] = From<F, T>::convert(high + poison);
    out.pooled[3 * out.features + d] = From<F, T>::convert(low + poison);
    if (out.sums != nullptr) {
      out.index[d] = high_hit;
      out.index[out.features + d] = low_hit;
      out.sums[d] = sum + poison;
    }
  }
}

template <class T, class F>
void no_selected_hit(const Output<T, F>& out) {
  std::fill_n(out.pooled, 4 * out.features, F{});
  if (out.sums == nullptr) return;
  std::fill_n(out.index, 2 * out.features, -1);
  std::fill_n(out.sums, out.features + 1, T{});
}

// Tiles that fit into the registers.
template <class T, bool kWithIndex, class Body>
void for_each_tile_of(int64_t features, Body&& body) {
  for_each_tile<T, !kWithIndex || kVectorBytes == 64 ? 4 : 2>(features, body);
}

template <class T, class F, int V, bool kWithIndex>
HITPOOL_INLINE void add_selected(
    Tile<T, V, kWithIndex>& tile, const Selection<T>& selected, const F* values, int64_t features, int64_t d) {
  const int64_t width = features - d;
  if (width >= V * lanes<T>) {
    add_rows<true>(tile, selected, values + d, features, width);
  } else {
    add_rows<false>(tile, selected, values + d, features, width);
  }
}

template <class T, bool kWithIndex, class F>
void pool(const Selection<T>& selected, T min_weight_sum, const F* values, const Output<T, F>& out) {
  if (selected.count() == 0) return no_selected_hit(out);
  if constexpr (kWithIndex) out.sums[out.features] = selected.weight_sum();
  const T norm = mean_factor(selected.weight_sum(), min_weight_sum);
  bool numbers = true;
  for_each_tile_of<T, kWithIndex>(out.features, [&](int64_t d, auto vectors) {
    Tile<T, vectors(), kWithIndex> tile(selected.hit()[0]);
    add_selected(tile, selected, values, out.features, d);
    numbers &= finish(tile, norm, d, out);
  });
  if (!numbers) pool_exactly(selected, norm, values, out);
}

// While one row is pooled, the features of the next one are on their way.
template <class T, bool kWithIndex, class F>
void forward_by_row(const PoolInputs& in, const PoolOutputs& outputs, int64_t row_begin, int64_t row_end) {
  const int64_t D = in.features;
  const auto values = [&](int64_t row) { return static_cast<const F*>(in.values) + row / in.tracks * in.hits * D; };
  Selection<T> selections[2] = {{in, in.hits}, {in, in.hits}};
  for (int64_t row = row_begin; row <= row_end; ++row) {
    auto& next = selections[row % 2];
    if (row < row_end) {
      next.find(row, 0, in.hits);
      next.prefetch(values(row), D);
    }
    if (row > row_begin) {
      const int64_t done = row - 1;
      const Output<T, F> out(outputs, done, D);
      pool<T, kWithIndex>(selections[done % 2], static_cast<T>(in.min_weight_sum), values(done), out);
    }
    if (row < row_end) next.weigh();
  }
}

// Tracks of one event take turns on a block of hits whose features fit into the cache.
template <class T, bool kWithIndex, class F>
void forward_by_block(
    const PoolInputs& in, const PoolOutputs& outputs, int64_t row_begin, int64_t row_end, int64_t block) {
  constexpr int64_t kGroup = 64;  // tracks
  const int64_t D = in.features;
  Selection<T> selected(in, in.hits);
  State<T, kWithIndex> state(kGroup, D);
  T weight_sum[kGroup];
  bool started[kGroup];
  for (int64_t first = row_begin; first < row_end;) {
    const int64_t event = first / in.tracks;
    const int64_t end = std::min({first + kGroup, row_end, (event + 1) * in.tracks});
    const F* values = static_cast<const F*>(in.values) + event * in.hits * D;
    std::fill_n(weight_sum, kGroup, T{});
    std::fill_n(started, kGroup, false);
    for (int64_t hit = 0; hit < in.hits; hit += block) {
      for (int64_t row = first; row < end; ++row) {
        const int64_t track = row - first;
        selected.select(row, hit, std::min(hit + block, in.hits));
        if (selected.count() == 0) continue;
        weight_sum[track] += selected.weight_sum();
        for_each_tile_of<T, kWithIndex>(D, [&](int64_t d, auto vectors) {
          Tile<T, vectors(), kWithIndex> tile(selected.hit()[0]);
          if (started[track]) state.load_tile(track, d, tile);
          add_selected(tile, selected, values, D, d);
          state.save_tile(track, d, tile);
        });
        started[track] = true;
      }
    }
    for (int64_t row = first; row < end; ++row) {
      const int64_t track = row - first;
      const Output<T, F> out(outputs, row, D);
      if (!started[track]) {
        no_selected_hit(out);
        continue;
      }
      if constexpr (kWithIndex) out.sums[D] = weight_sum[track];
      const T norm = mean_factor(weight_sum[track], static_cast<T>(in.min_weight_sum));
      bool numbers = true;
      for_each_tile_of<T, kWithIndex>(D, [&](int64_t d, auto vectors) {
        Tile<T, vectors(), kWithIndex> tile(0);
        state.load_tile(track, d, tile);
        numbers &= finish(tile, norm, d, out);
      });
      if (!numbers) {
        selected.select(row, 0, in.hits);
        pool_exactly(selected, norm, values, out);
      }
    }
    first = end;
  }
}

template <class T, bool kWithIndex, class F>
void forward_rows(const PoolInputs& in, const PoolOutputs& outputs, int64_t row_begin, int64_t row_end) {
  constexpr int64_t kBlockBytes = 1 << 19;  // of features, in a cache of their own core
  const int64_t block = kBlockBytes / std::max<int64_t>(1, in.features * sizeof(F));
  // Worth it if enough tracks share a block, and a block has enough hits to outweigh loading and saving a track.
  if (in.tracks > 8 && block >= 256 && 2 * block < in.hits) {
    forward_by_block<T, kWithIndex, F>(in, outputs, row_begin, row_end, block);
  } else {
    forward_by_row<T, kWithIndex, F>(in, outputs, row_begin, row_end);
  }
}

}  // namespace
}  // namespace hitpool::cpu
