// Backward of weighted_pool. With S = max(sum(p), min_weight_sum) and h = grad_mean / S + grad_sum, of one track:
//
//   dL/dlogit[m] = p (1 - p) (h x[m] - grad_mean mean / S)
//   dL/dx[m]     = sum over tracks of  p h  +  grad_max and grad_min where m is the extreme hit
//
// T is the type of the arithmetic, F and L the types that features and logits are stored in.
// Internal linkage, see weighted_pool_kernel.h: every instruction set has its own copy.
#pragma once
#include <algorithm>
#include <memory>
#include <type_traits>

#include "ops/cpu/scalar.h"
#include "ops/cpu/selection.h"
#include "ops/cpu/vector.h"
#include "ops/cpu/weighted_pool_kernel.h"

namespace hitpool::cpu {
namespace {

// The gradients of one track, ready for its selected hits.
template <class T, class F>
class TrackGradient {
 public:
  explicit TrackGradient(const PoolInputs& in)
      : in_(in),
        h_(std::make_unique_for_overwrite<T[]>(in.features + lanes<T>)),
        dot_(std::make_unique_for_overwrite<T[]>(in.hits + lanes<T>)) {}

  void set(const F* grad, T weight_sum) {  // grad [4, D]
    grad_ = grad;
    norm_ = 1 / std::max(weight_sum, static_cast<T>(in_.min_weight_sum));
    below_floor_ = weight_sum < static_cast<T>(in_.min_weight_sum);
    for (int64_t d = 0; d < in_.features; ++d) h_[d] = to<T>(grad[d]) * norm_ + to<T>(grad[in_.features + d]);
  }

  const T* h() const { return h_.get(); }

  // Writes dL/dlogit of the selected hits, and adds p h to grad_values [M, D] unless that is null.
  template <class L>
  void pass(const Selection<T>& selected, const F* values, T* grad_values, L* grad_logits) {
    const int64_t D = in_.features, count = selected.count();
    std::fill_n(dot_.get(), count, T{});
    T mean_dot = 0;  // grad_mean * mean
    for_each_tile<T, 4>(D, [&](int64_t d, auto vectors) {
      constexpr int V = vectors();
      const auto tile = [&](auto full, auto adds) {
        return pass_tile<V, full(), adds()>(selected, values + d, adds() ? grad_values + d : nullptr, d);
      };
      const bool full = D - d >= V * lanes<T>;
      if (grad_values != nullptr) {
        mean_dot += full ? tile(std::true_type{}, std::true_type{}) : tile(std::false_type{}, std::true_type{});
      } else {
        mean_dot += full ? tile(std::true_type{}, std::false_type{}) : tile(std::false_type{}, std::false_type{});
      }
    });
    // Below the floor of the mean's denominator, that denominator does not depend on p.
    const T pull = below_floor_ ? T{0} : mean_dot * norm_ * norm_;
    for (int64_t k = 0; k < count; ++k) {
      const T p = selected.weight()[k];
      grad_logits[selected.hit()[k]] = From<L, T>::convert((dot_[k] - pull) * p * (1 - p));
    }
  }

  // Adds p h to grad_values, rows `first` and on.
  void add_to_values(const Selection<T>& selected, T* grad_values, int64_t first) const {
    const int64_t D = in_.features;
    for (int64_t k = 0; k < selected.count(); ++k) {
      const T p = selected.weight()[k];
      T* row = grad_values + (selected.hit()[k] - first) * D;
      for (int64_t d = 0; d < D; ++d) row[d] += p * h_[d];
    }
  }

  // Adds the gradients of maximum and minimum to grad_values, which holds the hits [begin, end).
  void add_extrema(const int32_t* index, T* grad_values, int64_t begin, int64_t end) const {  // index [2, D]
    const int64_t D = in_.features;
    const F* grad = grad_ + 2 * D;
    T elsewhere = 0;
    const auto add = [&](int64_t i, auto count) {  // all loads before the stores: they cannot overlap
      T* to_value[count()];
      T sum[count()];
      for (int j = 0; j < count(); ++j) {
        const int64_t hit = index[i + j], d = i + j < D ? i + j : i + j - D;
        to_value[j] = hit >= begin && hit < end ? grad_values + (hit - begin) * D + d : &elsewhere;
        sum[j] = *to_value[j] + to<T>(grad[i + j]);
      }
      for (int j = 0; j < count(); ++j) *to_value[j] = sum[j];
    };
    for (int64_t half = 0; half < 2 * D; half += D) {
      int64_t d = 0;
      for (; d + 8 <= D; d += 8) add(half + d, std::integral_constant<int, 8>{});
      for (; d < D; ++d) add(half + d, std::integral_constant<int, 1>{});
    }
  }

 private:
  // Adds h x to dot_ and returns the sum of grad_mean p x, both over the features of the tile.
  template <int V, bool kFull, bool kAdds>
  T pass_tile(const Selection<T>& selected, const F* values, T* grad_values, int64_t d) {
    const int64_t D = in_.features, width = D - d;
    const auto part = [&](int v) { return kFull ? lanes<T> : width - v * lanes<T>; };
    const int32_t* hit = selected.hit();
    Vec<T> h[V], total[V];
    for (int v = 0; v < V; ++v) {
      h[v] = load<T>(h_.get() + d + v * lanes<T>, part(v));
      total[v] = Vec<T>{};
    }
    for (int64_t k = 0; k < selected.count(); ++k) {
      const F* row = values + hit[k] * D;
      const T weight = selected.weight()[k];
      Vec<T> product{};
      for (int v = 0; v < V; ++v) {
        __builtin_prefetch(values + hit[k + kAhead] * D + v * lanes<T>);
        const Vec<T> x = load<T>(row + v * lanes<T>, part(v));
        product += h[v] * x;
        total[v] += weight * x;
        if constexpr (kAdds) {
          T* to = grad_values + hit[k] * D + v * lanes<T>;
          store<T, T>(to, load<T>(to, part(v)) + weight * h[v], part(v));
        }
      }
      dot_[k] += horizontal_sum<T>(product);
    }
    Vec<T> product{};
    for (int v = 0; v < V; ++v) product += total[v] * load<T>(grad_ + d + v * lanes<T>, part(v));
    return horizontal_sum<T>(product);
  }

  const PoolInputs& in_;
  const F* grad_ = nullptr;
  T norm_ = 0;
  bool below_floor_ = false;
  std::unique_ptr<T[]> h_;
  std::unique_ptr<T[]> dot_;  // h x of each selected hit
};

// Both gradients of whole events; features are stored in the type of the arithmetic.
template <class T, class L>
void backward_events(
    const PoolInputs& in, const T* grad, const int32_t* index, L* grad_logits, T* grad_values, int64_t event_begin, int64_t event_end) {
  const int64_t D = in.features, M = in.hits;
  Selection<T> selections[2] = {{in, M}, {in, M}};  // one is in use while the next is found
  TrackGradient<T, T> track(in);
  const int64_t row_begin = event_begin * in.tracks, row_end = event_end * in.tracks;
  for (int64_t row = row_begin; row <= row_end; ++row) {
    auto& next = selections[row % 2];
    if (row < row_end) next.find(row, 0, M);
    if (row > row_begin) {
      const auto& selected = selections[(row - 1) % 2];
      const int64_t done = row - 1, event = done / in.tracks;
      T* event_grad = grad_values + event * M * D;
      if (done % in.tracks == 0) std::fill_n(event_grad, M * D, T{});
      std::fill_n(grad_logits + done * M, M, L{});
      if (selected.count() > 0) {
        track.set(grad + done * 4 * D, selected.weight_sum());
        track.pass(selected, static_cast<const T*>(in.values) + event * M * D, event_grad, grad_logits + done * M);
        track.add_extrema(index + done * 2 * D, event_grad, 0, M);
      }
    }
    if (row < row_end) next.weigh();
  }
}

template <class T, class F, class L>
void backward_logits(const PoolInputs& in, const F* grad, L* grad_logits, double* weight_sum, int64_t row_begin, int64_t row_end) {
  const int64_t D = in.features, M = in.hits;
  Selection<T> selected(in, M);
  TrackGradient<T, F> track(in);
  for (int64_t row = row_begin; row < row_end; ++row) {
    std::fill_n(grad_logits + row * M, M, L{});
    selected.select(row, 0, M);
    weight_sum[row] = selected.weight_sum();
    if (selected.count() == 0) continue;
    track.set(grad + row * 4 * D, selected.weight_sum());
    const F* values = static_cast<const F*>(in.values) + row / in.tracks * M * D;
    track.pass(selected, values, static_cast<T*>(nullptr), grad_logits + row * M);
  }
}

template <class T, class F>
void backward_values(
    const PoolInputs& in, const F* grad, const int32_t* index, const double* weight_sum, F* grad_values, int64_t event,
    int64_t hit_begin, int64_t hit_end) {
  constexpr bool kInPlace = std::is_same_v<T, F>;  // reduced precision is summed elsewhere and rounded once
  constexpr int64_t kScratchHits = 64;
  const int64_t D = in.features;
  const int64_t step = kInPlace ? hit_end - hit_begin : std::min(hit_end - hit_begin, kScratchHits);
  Selection<T> selected(in, step);
  TrackGradient<T, F> track(in);
  const auto scratch = std::make_unique_for_overwrite<T[]>(kInPlace ? 0 : step * D);
  F* event_grad = grad_values + event * in.hits * D;
  for (int64_t begin = hit_begin; begin < hit_end; begin += step) {
    const int64_t end = std::min(begin + step, hit_end);
    T* sums;  // [end - begin, D]
    if constexpr (kInPlace) {
      sums = event_grad + begin * D;
    } else {
      sums = scratch.get();
    }
    std::fill_n(sums, (end - begin) * D, T{});
    for (int64_t row = event * in.tracks; row < (event + 1) * in.tracks; ++row) {
      selected.select(row, begin, end);
      if (selected.count() == 0) continue;
      track.set(grad + row * 4 * D, static_cast<T>(weight_sum[row]));
      track.add_to_values(selected, sums, begin);
      track.add_extrema(index + row * 2 * D, sums, begin, end);
    }
    if constexpr (!kInPlace) {
      for (int64_t i = 0; i < (end - begin) * D; ++i) event_grad[begin * D + i] = From<F, T>::convert(sums[i]);
    }
  }
}

}  // namespace
}  // namespace hitpool::cpu
