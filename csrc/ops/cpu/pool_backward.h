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
#include "ops/weighted_pool_formula.h"

namespace hitpool::cpu {
namespace {

// The gradients of one track, ready for its selected hits.
template <class T, class F>
class TrackGradient {
 public:
  explicit TrackGradient(const PoolInputs& in)
      : in_(in),
        dot_(uninitialized<T>(in.hits + lanes<T>)) {}

  void set(const F* grad, T weight_sum) {  // grad [4, D]
    grad_ = grad;
    weight_sum_ = weight_sum;
    norm_ = mean_factor(weight_sum, static_cast<T>(in_.min_weight_sum));
  }

  // Writes dL/dlogit of the selected hits, and adds p h to grad_values [M, D] unless that is null.
  template <class L>
  void pass(const Selection<T>& selected, const F* values, T* grad_values, L* grad_logits) {
    const int64_t D = in_.features, count = selected.count();
    if (D == 0) return;  // grad_logits is 0
    T mean_dot = 0;  // grad_mean * sum
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
    const T pull = mean_pull(mean_dot * norm_, weight_sum_, static_cast<T>(in_.min_weight_sum));
    for (int64_t k = 0; k < count; ++k) dot_[k] = logit_grad(dot_[k], pull, selected.weight()[k]);
    for (int64_t k = 0; k < count; ++k) grad_logits[selected.hit()[k]] = From<L, T>::convert(dot_[k]);
  }

  // Adds p h to grad_values, rows `first` and on.
  void add_to_values(const Selection<T>& selected, T* grad_values, int64_t first) const {
    const int64_t D = in_.features;
    for_each_tile<T, 4>(D, [&](int64_t d, auto vectors) {
      Vec<T> h[vectors()];
      for (int v = 0; v < vectors(); ++v) h[v] = h_of(d + v * lanes<T>);
      for (int64_t k = 0; k < selected.count(); ++k) {
        T* row = grad_values + (selected.hit()[k] - first) * D + d;
        for (int v = 0; v < vectors(); ++v) {
          T* to = row + v * lanes<T>;
          const int64_t width = D - d - v * lanes<T>;
          const Vec<T> weight = broadcast<T>(selected.weight()[k]);
          store<T, T>(to, multiply_add<T>(weight, h[v], load<T>(to, width)), width);
        }
      }
    });
  }

  // Adds the gradients of maximum and minimum to grad_values, which holds the hits [begin, end); kAll: all of the event.
  template <bool kAll>
  void add_extrema(const int32_t* index, T* grad_values, int64_t begin, int64_t end) const {  // index [2, D]
    const int64_t D = in_.features;
    const F* grad = grad_ + 2 * D;
    T elsewhere = 0;
    // All loads come before the stores: in different columns, they cannot overlap.
    const auto add = [&](const int32_t* hits, const F* grad, int64_t d, auto count) {
      T* to_value[count()];
      T sum[count()];
      for (int j = 0; j < count(); ++j) {
        const int64_t hit = hits[j];
        to_value[j] = kAll || (hit >= begin && hit < end) ? grad_values + (hit - begin) * D + d + j : &elsewhere;
        sum[j] = *to_value[j] + to<T>(grad[j]);
      }
      for (int j = 0; j < count(); ++j) *to_value[j] = sum[j];
    };
    for (int extreme = 0; extreme < 2; ++extreme, index += D, grad += D) {
      int64_t d = 0;
      for (; d + 8 <= D; d += 8) add(index + d, grad + d, d, std::integral_constant<int, 8>{});
      for (; d < D; ++d) add(index + d, grad + d, d, std::integral_constant<int, 1>{});
    }
  }

 private:
  Vec<T> h_of(int64_t d) const {
    const int64_t width = in_.features - d;
    return multiply_add<T>(
        load<T>(grad_ + d, width), broadcast<T>(norm_), load<T>(grad_ + in_.features + d, width));
  }

  // Adds h x to dot_ and returns the sum of grad_mean p x, both over the features of the tile.
  template <int V, bool kFull, bool kAdds>
  T pass_tile(const Selection<T>& selected, const F* values, T* grad_values, int64_t d) {
    const int64_t D = in_.features, width = D - d;
    const auto part = [&](int v) { return kFull ? lanes<T> : width - v * lanes<T>; };
    const int32_t* const hit = selected.hit();
    const T* const weights = selected.weight();
    T* const dot = dot_.get();
    const int64_t count = selected.count();
    Vec<T> h[V], total[V];
    for (int v = 0; v < V; ++v) {
      h[v] = h_of(d + v * lanes<T>);
      total[v] = Vec<T>{};
    }
    for (int64_t k = 0; k < count; ++k) {
      const int64_t offset = hit[k] * D, ahead = hit[k + kAhead] * D;
      const Vec<T> weight = broadcast<T>(weights[k]);
      Vec<T> product{};
      for (int v = 0; v < V; ++v) {
        __builtin_prefetch(values + ahead + v * lanes<T>);
        const Vec<T> x = load<T>(values + offset + v * lanes<T>, part(v));
        product = multiply_add<T>(h[v], x, product);
        total[v] = multiply_add<T>(weight, x, total[v]);
        if constexpr (kAdds) {
          T* to = grad_values + offset + v * lanes<T>;
          store<T, T>(to, multiply_add<T>(weight, h[v], load<T>(to, part(v))), part(v));
        }
      }
      const T sum = horizontal_sum<T>(product);
      dot[k] = d == 0 ? sum : dot[k] + sum;
    }
    Vec<T> product{};
    for (int v = 0; v < V; ++v) product = multiply_add<T>(total[v], load<T>(grad_ + d + v * lanes<T>, part(v)), product);
    return horizontal_sum<T>(product);
  }

  const PoolInputs& in_;
  const F* grad_ = nullptr;
  T weight_sum_ = 0, norm_ = 0;
  std::unique_ptr<T[]> dot_;  // h x of each selected hit
};

// Both gradients of whole events; features are stored in the type of the arithmetic. If `streams`, the gradients of an
// event are summed up in the cache and then written past it.
template <class T, class L>
void backward_events(
    const PoolInputs& in, const T* grad, const int32_t* index, L* grad_logits, T* grad_values, bool streams,
    int64_t event_begin, int64_t event_end) {
  const int64_t D = in.features, M = in.hits, N = in.tracks;
  Selection<T> selections[2] = {{in, M}, {in, M}};  // one is in use while the next is found
  TrackGradient<T, T> track(in);
  const auto scratch = uninitialized<T>(streams ? M * D : 0);
  const int64_t row_begin = event_begin * N, row_end = event_end * N;
  for (int64_t row = row_begin; row <= row_end; ++row) {
    auto& next = selections[row % 2];
    if (row < row_end) next.find(row, 0, M);
    if (row > row_begin) {
      const auto& selected = selections[(row - 1) % 2];
      const int64_t done = row - 1, event = done / N;
      T* const event_grad = grad_values + event * M * D;
      T* const sums = streams ? scratch.get() : event_grad;
      if (done % N == 0) std::fill_n(sums, M * D, T{});
      std::fill_n(grad_logits + done * M, M, L{});
      if (selected.count() > 0) {
        track.set(grad + done * 4 * D, selected.weight_sum());
        track.pass(selected, static_cast<const T*>(in.values) + event * M * D, sums, grad_logits + done * M);
        track.template add_extrema<true>(index + done * 2 * D, sums, 0, M);
      }
      if (streams && row % N == 0) stream(sums, M * D, event_grad);
    }
    if (row < row_end) next.weigh();
  }
}

template <class T, class F, class L>
void backward_logits(
    const PoolInputs& in, const F* grad, L* grad_logits, double* weight_sum, int64_t row_begin, int64_t row_end) {
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
  const auto scratch = uninitialized<T>(kInPlace ? 0 : step * D);
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
      track.template add_extrema<false>(index + row * 2 * D, sums, begin, end);
    }
    if constexpr (!kInPlace) {
      for (int64_t i = 0; i < (end - begin) * D; ++i) event_grad[begin * D + i] = From<F, T>::convert(sums[i]);
    }
  }
}

}  // namespace
}  // namespace hitpool::cpu
