// Compiled once per instruction set (HITPOOL_ISA = baseline, avx2, avx512). Everything but the table at the end has
// internal linkage, see weighted_pool_kernel.h. T is the type of the arithmetic: float, or double if logits or values
// are float64; L and F are the types that logits and values are stored in.
#include "ops/cpu/weighted_pool_kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>

#include "ops/cpu/scalar.h"
#include "ops/cpu/sigmoid.h"
#include "ops/cpu/vector.h"

namespace hitpool::cpu {
namespace {

// ---- the selected hits of one track ----

template <class T>
struct Selection {
  explicit Selection(int64_t hits)
      : hit(std::make_unique_for_overwrite<int32_t[]>(hits + 1)),
        weight(std::make_unique_for_overwrite<T[]>(hits + 1)),
        scratch(std::make_unique_for_overwrite<T[]>(hits + 1)) {}
  int64_t count = 0;
  std::unique_ptr<int32_t[]> hit;  // ascending
  std::unique_ptr<T[]> weight;     // sigmoid(logit)
  std::unique_ptr<T[]> scratch;    // one value per selected hit, free for the user

  T weight_sum() const {
    T sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += weight[k];
    return sum;
  }
};

// Hits of [begin, end) that are valid and have p >= threshold. NaN counts as selected, so that it is not hidden.
template <class T, class L>
void select(const L* logits, const bool* valid, int64_t begin, int64_t end, T threshold, Selection<T>& out) {
  // Far below the threshold a comparison of logits decides; sigmoid is evaluated for the others only.
  const T slightly_less = threshold * (1 - 64 * std::numeric_limits<T>::epsilon());
  const T cut = std::log(slightly_less / (1 - slightly_less));
  int64_t candidates = 0;
  for (int64_t m = begin; m < end; ++m) {
    const T x = to<T>(logits[m]);
    out.hit[candidates] = static_cast<int32_t>(m);
    out.scratch[candidates] = x;
    candidates += !(x < cut) & (valid == nullptr || valid[m]);
  }
  for (int64_t k = 0; k < candidates; ++k) out.scratch[k] = sigmoid(out.scratch[k]);
  out.count = 0;
  for (int64_t k = 0; k < candidates; ++k) {
    const T p = out.scratch[k];
    out.hit[out.count] = out.hit[k];
    out.weight[out.count] = p;
    out.count += !(p < threshold);
  }
}

template <class T>
void select(const PoolInputs& in, int64_t row, int64_t begin, int64_t end, Selection<T>& out) {
  const bool* valid = in.valid == nullptr ? nullptr : in.valid + row / in.tracks * in.hits;
  const auto threshold = static_cast<T>(in.threshold);
  const int64_t offset = row * in.hits;
  switch (in.logits_dtype) {
    case Dtype::float64: return select(static_cast<const double*>(in.logits) + offset, valid, begin, end, threshold, out);
    case Dtype::float32: return select(static_cast<const float*>(in.logits) + offset, valid, begin, end, threshold, out);
    case Dtype::bfloat16: return select(static_cast<const BFloat16*>(in.logits) + offset, valid, begin, end, threshold, out);
    case Dtype::float16: return select(static_cast<const Float16*>(in.logits) + offset, valid, begin, end, threshold, out);
  }
}

// ---- forward ----

template <class T, class F, int kVectors, bool kWithIndex>
void pool_tile(
    const Selection<T>& selected, T weight_sum, T norm, const F* values, int64_t features, int64_t d, F* pooled, int32_t* index) {
  const int64_t width = features - d;
  Vec<T> sum[kVectors], high[kVectors], low[kVectors];
  IndexVec<T> high_hit[kVectors], low_hit[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    sum[v] = Vec<T>{};
    high[v] = low[v] = load<T>(values + selected.hit[0] * features + d + v * lanes<T>, width - v * lanes<T>);
    high_hit[v] = low_hit[v] = IndexVec<T>{} + selected.hit[0];
  }
  for (int64_t k = 0; k < selected.count; ++k) {
    const F* row = values + selected.hit[k] * features + d;
    const T weight = selected.weight[k];
    const IndexVec<T> hit = IndexVec<T>{} + selected.hit[k];
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> x = load<T>(row + v * lanes<T>, width - v * lanes<T>);
      sum[v] += weight * x;
      // Not <= rather than >: NaN replaces a number and stays.
      const IndexVec<T> higher = ~(x <= high[v]) & (high[v] == high[v]);
      const IndexVec<T> lower = ~(x >= low[v]) & (low[v] == low[v]);
      high[v] = higher ? x : high[v];
      low[v] = lower ? x : low[v];
      if constexpr (kWithIndex) {
        high_hit[v] = higher ? hit : high_hit[v];
        low_hit[v] = lower ? hit : low_hit[v];
      }
    }
  }
  const T poison = weight_sum - weight_sum;  // 0, or NaN if a logit was NaN
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = width - v * lanes<T>;
    if (left <= 0) break;
    F* to = pooled + d + v * lanes<T>;
    store<F, T>(to, sum[v] * norm + poison, left);
    store<F, T>(to + features, sum[v], left);
    store<F, T>(to + 2 * features, high[v] + poison, left);
    store<F, T>(to + 3 * features, low[v] + poison, left);
    if constexpr (kWithIndex) {
      int32_t* hit = index + d + v * lanes<T>;
      for (int l = 0; l < std::min<int64_t>(left, lanes<T>); ++l) {
        hit[l] = static_cast<int32_t>(high_hit[v][l]);
        hit[features + l] = static_cast<int32_t>(low_hit[v][l]);
      }
    }
  }
}

template <class T, class F>
void forward(const PoolInputs& in, F* pooled, int32_t* index, int64_t row_begin, int64_t row_end) {
  const int64_t D = in.features;
  Selection<T> selected(in.hits);
  for (int64_t row = row_begin; row < row_end; ++row) {
    select(in, row, 0, in.hits, selected);
    F* to = pooled + row * 4 * D;
    int32_t* hit = index == nullptr ? nullptr : index + row * 2 * D;
    if (selected.count == 0) {
      std::fill(to, to + 4 * D, F{});
      if (hit != nullptr) std::fill(hit, hit + 2 * D, -1);
      continue;
    }
    const F* values = static_cast<const F*>(in.values) + row / in.tracks * in.hits * D;
    const T weight_sum = selected.weight_sum();
    const T norm = 1 / std::max(weight_sum, static_cast<T>(in.min_weight_sum));
    for_each_tile<T>(D, [&](int64_t d, auto vectors) {
      if (hit != nullptr) {
        pool_tile<T, F, vectors(), true>(selected, weight_sum, norm, values, D, d, to, hit);
      } else {
        pool_tile<T, F, vectors(), false>(selected, weight_sum, norm, values, D, d, to, nullptr);
      }
    });
  }
}

// ---- backward ----

// Gradient of the loss by p * x of one hit: the sum passes it on as it is, the mean divided by the sum of weights.
template <class T, class F>
void weighted_grad(const F* grad, int64_t features, T norm, T* out) {
  for (int64_t d = 0; d < features; ++d) out[d] = to<T>(grad[d]) * norm + to<T>(grad[features + d]);
}

// With h = grad_mean / S + grad_sum:  dL/dp = h x - (grad_mean / S) mean,  dL/dlogit = p (1 - p) dL/dp.
template <class T, class F, class L>
void backward_logits(
    const PoolInputs& in, const F* grad, L* grad_logits, double* weight_sum, int64_t row_begin, int64_t row_end) {
  const int64_t D = in.features;
  Selection<T> selected(in.hits);
  const auto h = std::make_unique_for_overwrite<T[]>(D + 1);
  for (int64_t row = row_begin; row < row_end; ++row) {
    L* to_row = grad_logits + row * in.hits;
    std::fill(to_row, to_row + in.hits, L{});
    select(in, row, 0, in.hits, selected);
    const T sum = selected.weight_sum();
    weight_sum[row] = sum;
    if (selected.count == 0) continue;
    const T norm = 1 / std::max(sum, static_cast<T>(in.min_weight_sum));
    const F* grad_row = grad + row * 4 * D;
    const F* values = static_cast<const F*>(in.values) + row / in.tracks * in.hits * D;
    weighted_grad(grad_row, D, norm, h.get());
    T* dot = selected.scratch.get();  // h x of each selected hit
    std::fill(dot, dot + selected.count, T{});
    T mean_dot = 0;  // grad_mean * mean
    for_each_tile<T>(D, [&](int64_t d, auto vectors) {
      constexpr int V = vectors();
      const int64_t width = D - d;
      Vec<T> coefficient[V], total[V];
      for (int v = 0; v < V; ++v) {
        coefficient[v] = load<T>(h.get() + d + v * lanes<T>, width - v * lanes<T>);
        total[v] = Vec<T>{};
      }
      for (int64_t k = 0; k < selected.count; ++k) {
        const F* from = values + selected.hit[k] * D + d;
        Vec<T> product{};
        for (int v = 0; v < V; ++v) {
          const Vec<T> x = load<T>(from + v * lanes<T>, width - v * lanes<T>);
          product += coefficient[v] * x;
          total[v] += selected.weight[k] * x;
        }
        dot[k] += horizontal_sum<T>(product);
      }
      Vec<T> product{};
      for (int v = 0; v < V; ++v) {
        product += total[v] * load<T>(grad_row + d + v * lanes<T>, width - v * lanes<T>);
      }
      mean_dot += horizontal_sum<T>(product) * norm;
    });
    // Below the floor of the mean's denominator, that denominator does not depend on p.
    const T pull = sum < static_cast<T>(in.min_weight_sum) ? T{0} : mean_dot * norm;
    for (int64_t k = 0; k < selected.count; ++k) {
      const T p = selected.weight[k];
      to_row[selected.hit[k]] = From<L, T>::convert((dot[k] - pull) * p * (1 - p));
    }
  }
}

// dL/dx[m] = sum over tracks of  p h  +  grad_max and grad_min where m is the extreme hit; tracks in ascending order.
template <class T, class F>
void backward_values(
    const PoolInputs& in, const F* grad, const int32_t* index, const double* weight_sum, F* grad_values, int64_t event,
    int64_t hit_begin, int64_t hit_end) {
  constexpr bool kInPlace = std::is_same_v<T, F>;  // reduced precision is summed elsewhere and rounded once
  const int64_t D = in.features;
  const int64_t scratch_hits = kInPlace ? hit_end - hit_begin : std::min<int64_t>(hit_end - hit_begin, 64);
  Selection<T> selected(hit_end - hit_begin);
  const auto h = std::make_unique_for_overwrite<T[]>(D + 1);
  const auto scratch = std::make_unique_for_overwrite<T[]>(kInPlace ? 1 : scratch_hits * D + 1);
  F* event_grad = grad_values + event * in.hits * D;
  for (int64_t begin = hit_begin; begin < hit_end; begin += scratch_hits) {
    const int64_t end = std::min(begin + scratch_hits, hit_end);
    T* sums;  // [end - begin, D]
    if constexpr (kInPlace) {
      sums = event_grad + begin * D;
    } else {
      sums = scratch.get();
    }
    std::fill(sums, sums + (end - begin) * D, T{});
    for (int64_t n = 0; n < in.tracks; ++n) {
      const int64_t row = event * in.tracks + n;
      const F* grad_row = grad + row * 4 * D;
      select(in, row, begin, end, selected);
      const T norm = 1 / std::max(static_cast<T>(weight_sum[row]), static_cast<T>(in.min_weight_sum));
      weighted_grad(grad_row, D, norm, h.get());
      for (int64_t k = 0; k < selected.count; ++k) {
        const T p = selected.weight[k];
        T* to_row = sums + (selected.hit[k] - begin) * D;
        for (int64_t d = 0; d < D; ++d) to_row[d] += p * h[d];
      }
      for (int extreme = 0; extreme < 2; ++extreme) {
        const int32_t* hit = index + (row * 2 + extreme) * D;
        for (int64_t d = 0; d < D; ++d) {
          if (hit[d] >= begin && hit[d] < end) sums[(hit[d] - begin) * D + d] += to<T>(grad_row[(2 + extreme) * D + d]);
        }
      }
    }
    if constexpr (!kInPlace) {
      for (int64_t i = 0; i < (end - begin) * D; ++i) event_grad[begin * D + i] = From<F, T>::convert(sums[i]);
    }
  }
}

// ---- from run-time dtypes to templates ----

template <class T, class Body>
void with_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::float64:
      if constexpr (std::is_same_v<T, double>) body(double{});
      return;  // float64 anywhere makes T double
    case Dtype::float32: return body(float{});
    case Dtype::bfloat16: return body(BFloat16{});
    case Dtype::float16: return body(Float16{});
  }
}

template <class Body>
void with_arithmetic_type(const PoolInputs& in, Body&& body) {
  if (in.logits_dtype == Dtype::float64 || in.values_dtype == Dtype::float64) {
    body(double{});
  } else {
    body(float{});
  }
}

void forward_any(const PoolInputs& in, void* pooled, int32_t* index, int64_t row_begin, int64_t row_end) {
  with_arithmetic_type(in, [&](auto t) {
    with_type<decltype(t)>(in.values_dtype, [&](auto f) {
      forward<decltype(t)>(in, static_cast<decltype(f)*>(pooled), index, row_begin, row_end);
    });
  });
}

void backward_logits_any(
    const PoolInputs& in, const void* grad, void* grad_logits, double* weight_sum, int64_t row_begin, int64_t row_end) {
  with_arithmetic_type(in, [&](auto t) {
    using T = decltype(t);
    with_type<T>(in.values_dtype, [&](auto f) {
      with_type<T>(in.logits_dtype, [&](auto l) {
        backward_logits<T>(
            in, static_cast<const decltype(f)*>(grad), static_cast<decltype(l)*>(grad_logits), weight_sum, row_begin,
            row_end);
      });
    });
  });
}

void backward_values_any(
    const PoolInputs& in, const void* grad, const int32_t* index, const double* weight_sum, void* grad_values,
    int64_t event, int64_t hit_begin, int64_t hit_end) {
  with_arithmetic_type(in, [&](auto t) {
    with_type<decltype(t)>(in.values_dtype, [&](auto f) {
      using F = decltype(f);
      backward_values<decltype(t)>(
          in, static_cast<const F*>(grad), index, weight_sum, static_cast<F*>(grad_values), event, hit_begin, hit_end);
    });
  });
}

}  // namespace

#define HITPOOL_JOIN(a, b) a##b
#define HITPOOL_TABLE(isa) HITPOOL_JOIN(kernels_, isa)
constinit const PoolKernels HITPOOL_TABLE(HITPOOL_ISA) = {
    forward_any, backward_logits_any, backward_values_any};

}  // namespace hitpool::cpu
