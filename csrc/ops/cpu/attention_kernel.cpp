// With 4 features per head the matrix products of attention are too thin for a matrix library. Here a vector holds one
// score of many queries (forward) or many keys (backward), everything stays in registers, and an event costs little
// more than the exponentials of its scores.
#include "ops/cpu/attention_kernel.h"

#include <limits>
#include <type_traits>

#include "ops/cpu/exponential.h"
#include "ops/cpu/instruction_set.h"
#include "ops/cpu/vector.h"

namespace hitpool::cpu {
namespace {

constexpr int kKeysPerTile = 64;      // keys between two adjustments of the maximum
constexpr int kQueriesPerChunk = 64;  // queries whose gradients are summed up at a time

constexpr double kLog2e = 1.4426950408889634;

template <class T>
const T* at(const AttentionArray& array, int64_t event, int64_t position, int64_t head) {
  return static_cast<const T*>(array.data) + event * array.event + position * array.position + head * array.head;
}

template <class T>
T scale_of(int size) {
  return static_cast<T>(kLog2e / __builtin_sqrt(static_cast<double>(size)));
}

inline bool by_pair(const AttentionInputs& in) { return in.mask != nullptr && in.mask_query != 0; }

// The hits of an event that the mask allows, in their order: `rank` counts them.
template <class T>
struct Neighbours {
  int64_t count, half;
  bool wrap;

  // Whether the hit of a rank (-1: none) sees those of other ranks.
  IndexVec<T> sees(IndexVec<T> rank, IndexVec<T> other) const {
    using Int = typename Vector<T>::Int;
    IndexVec<T> away = other > rank ? other - rank : rank - other;
    if (wrap) {
      const IndexVec<T> around = static_cast<Int>(count) - away;
      away = around < away ? around : away;
    }
    return (away <= static_cast<Int>(half)) & (rank >= 0);
  }

  // Whether ranks in [low, high) may see some in [begin, end).
  bool reach(int64_t low, int64_t high, int64_t begin, int64_t end) const {
    const auto meet = [&](int64_t shift) { return begin + shift < high + half && low - half < end + shift; };
    return meet(0) || (wrap && (meet(count) || meet(-count)));
  }

  // Calls body(rank) for the hits that those with ranks in [low, high) may see, each once.
  template <class Body>
  void for_each(int64_t low, int64_t high, Body&& body) const {
    low -= half, high += half;
    if (!wrap) low = low < 0 ? 0 : low, high = high < count ? high : count;
    else if (high - low > count) low = 0, high = count;
    for (int64_t i = low; i < high; ++i) body(i < 0 ? i + count : i < count ? i : i - count);
  }
};

// Keys to which some query of [first, last) may attend.
inline int64_t allowed_keys(const AttentionInputs& in, int64_t event, int64_t first, int64_t last, int32_t* list) {
  int64_t count = 0;
  const bool* mask = in.mask == nullptr ? nullptr : in.mask + event * in.mask_event;
  if (mask != nullptr && in.mask_query == 0) last = first + 1;
  for (int64_t key = 0; key < in.keys; ++key) {
    bool allowed = mask == nullptr;
    for (int64_t query = first; query < last && !allowed; ++query) allowed = mask[query * in.mask_query + key];
    list[count] = static_cast<int32_t>(key);
    count += allowed;
  }
  return count;
}

// Keys behind the `count` allowed ones that some query of [first, first + width) sees, and for each of them one number
// a query: 0 where it sees the key. Returns how many, and sets the ranks of the queries.
template <class T, bool kSpecial>
int64_t near_keys(
    const AttentionInputs& in, int64_t event, int64_t first, int64_t width, int32_t* list, int64_t count, T* bias,
    IndexVec<T>& rank) {
  constexpr int L = lanes<T>;
  const bool* mask = in.mask + event * in.mask_event;
  int64_t low = 0, high;
  while (low < count && list[low] < first) ++low;
  high = low;
  for (int l = 0; l < L; ++l) rank[l] = l < width && mask[first + l] ? high++ : -1;
  if (low == high) return 0;
  const Neighbours<T> neighbours{count, in.window / 2, in.wrap};
  int64_t found = 0;
  neighbours.for_each(low, high, [&](int64_t other) {
    list[count + found] = list[other];
    const IndexVec<T> sees = neighbours.sees(rank, IndexVec<T>{} + static_cast<typename Vector<T>::Int>(other));
    Vec<T> outside = sees ? Vec<T>{} : Vec<T>{} - std::numeric_limits<T>::infinity();
    if constexpr (!kSpecial) outside = rank < 0 ? Vec<T>{} : outside;  // any finite result, which is not used
    store<T, T>(bias + found++ * L, outside, L);
  });
  return found;
}

// With a mask of pairs (kPairs) a masked key has weight 0 in the lanes that may not attend to it. That is enough while
// everything is finite. If a result is not, the kernels run again and put 0 in place of what is masked (kSpecial).
template <class T, int E, bool kPairs, bool kSpecial>
bool forward_block(  // false: run again with kSpecial
    const AttentionInputs& in, T* out, T* log_sum, int64_t event, int64_t first, int32_t* list, T* bias) {
  using V = Vec<T>;
  constexpr int L = lanes<T>;
  constexpr T lowest = std::numeric_limits<T>::lowest(), infinity = std::numeric_limits<T>::infinity();
  const T scale = scale_of<T>(E);
  const int64_t width = in.queries - first < L ? in.queries - first : L;
  int64_t count = allowed_keys(in, event, first, first + width, list);
  IndexVec<T> rank = {};  // of the queries, -1: attends to nothing
  if constexpr (kPairs) {
    if (in.window != 0) {
      const int64_t allowed = count;
      count = near_keys<T, kSpecial>(in, event, first, width, list, allowed, bias, rank);
      list += allowed;
    }
    for (int64_t i = 0; i < count && in.window == 0; ++i) {
      const bool* column = in.mask + event * in.mask_event + first * in.mask_query + list[i];
      for (int l = 0; l < width; ++l) bias[i * L + l] = column[l * in.mask_query] ? 0 : -infinity;
      for (int l = static_cast<int>(width); l < L; ++l) bias[i * L + l] = 0;
    }
  }
  V score[kKeysPerTile], odd = {};  // odd: NaN where a result is not finite
  for (int64_t head = 0; head < in.heads; ++head) {
    V q[E] = {};
    for (int64_t l = 0; l < width; ++l) {
      const T* row = at<T>(in.query, event, first + l, head);
      for (int e = 0; e < E; ++e) q[e][l] = row[e] * scale;
    }
    const T* keys = at<T>(in.key, event, 0, head);
    const T* values = at<T>(in.value, event, 0, head);
    V highest = V{} + lowest, sum = {}, total[E] = {};
    IndexVec<T> asks = rank >= 0;  // the query may attend to something
    if (kSpecial || count == 0) asks = IndexVec<T>{};
    for (int64_t begin = 0; begin < count; begin += kKeysPerTile) {
      const int tile = static_cast<int>(count - begin < kKeysPerTile ? count - begin : kKeysPerTile);
      const V before = highest;
      for (int i = 0; i < tile; ++i) {
        const T* k = keys + list[begin + i] * in.key.position;
        V s = q[0] * k[0];
        for (int e = 1; e < E; ++e) s += q[e] * k[e];
        if constexpr (kPairs) {
          const V b = load<T>(bias + (begin + i) * L, L);
          s = kSpecial ? (b == 0 ? s : b) : s + b;
        }
        score[i] = s;
        highest = s > highest ? s : highest;
      }
      const V rescale = exp2<T>(before - highest);
      sum *= rescale;
      for (int e = 0; e < E; ++e) total[e] *= rescale;
      for (int i = 0; i < tile; ++i) {
        const T* v = values + list[begin + i] * in.value.position;
        const V p = exp2<T>(score[i] - highest);
        sum += p;
        if constexpr (kSpecial) {
          const IndexVec<T> allowed = load<T>(bias + (begin + i) * L, L) == 0;
          asks |= allowed;
          for (int e = 0; e < E; ++e) total[e] += p * (allowed ? V{} + v[e] : V{});
        } else {
          for (int e = 0; e < E; ++e) total[e] += p * v[e];
        }
      }
    }
    const V inverse = asks ? 1 / sum : V{};
    for (int e = 0; e < E; ++e) total[e] *= inverse;
    for (int e = 0; e < E; ++e) odd += total[e] * 0;
    for (int64_t l = 0; l < width; ++l) {
      T* row = out + ((event * in.queries + first + l) * in.heads + head) * E;
      for (int e = 0; e < E; ++e) row[e] = total[e][l];
    }
    if (log_sum == nullptr) continue;
    T* row = log_sum + (event * in.heads + head) * in.queries + first;
    for (int64_t l = 0; l < width; ++l) row[l] = asks[l] ? highest[l] + __builtin_log2(sum[l]) : infinity;
  }
  return !kPairs || kSpecial || all_true<T>(odd == 0);
}

template <class T, int E>
void forward(
    const AttentionInputs& in, void* out, void* log_sum, int64_t event, int64_t first, int32_t* list, void* scratch) {
  for (int64_t end = first + kAttentionLanes; first < end && first < in.queries; first += lanes<T>) {
    const auto run = [&](auto block) {
      return block(in, static_cast<T*>(out), static_cast<T*>(log_sum), event, first, list, static_cast<T*>(scratch));
    };
    if (!by_pair(in) && in.window == 0) run(forward_block<T, E, false, false>);
    else if (!run(forward_block<T, E, true, false>)) run(forward_block<T, E, true, true>);
  }
}

template <int L>
bool none(const bool* allowed) {
  if constexpr (L % 8 != 0) {
    for (int l = 0; l < L; ++l) {
      if (allowed[l]) return false;
    }
    return true;
  } else {
    uint64_t any = 0;
    for (int l = 0; l < L; l += 8) {
      uint64_t part;
      __builtin_memcpy(&part, allowed + l, 8);
      any |= part;
    }
    return any == 0;
  }
}

// p = softmax, dv_j = sum_i p_ij g_i, ds_ij = p_ij (g_i . v_j - g_i . out_i), dq_i = sum_j ds_ij k_j,
// dk_j = sum_i ds_ij q_i
template <class T, int E, bool kSpecial>
bool backward_pass(  // false: run again with kSpecial
    const AttentionInputs& in, const void* grad_in, const void* out_in, const void* log_sum_in, void* grad_query,
    void* grad_key, void* grad_value, int64_t event, int64_t head, int32_t* list, void* scratch) {
  using V = Vec<T>;
  constexpr int L = lanes<T>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const T scale = scale_of<T>(E), root = scale / static_cast<T>(kLog2e);
  const bool pairs = by_pair(in), window = in.window != 0;
  const int64_t count = allowed_keys(in, event, 0, in.queries, list);
  const int64_t padded = (count + L - 1) / L * L;
  const int64_t stride = attention_padded(in.keys);

  T* k_of = static_cast<T*>(scratch);  // [E][keys], as are the next three
  T* v_of = k_of + E * stride;
  T* dk_of = v_of + E * stride;
  T* dv_of = dk_of + E * stride;
  T* bias = dv_of + E * stride;  // [keys]
  for (int64_t i = 0; i < padded; ++i) {
    const bool inside = i < count;
    const T* k = at<T>(in.key, event, inside ? list[i] : 0, head);
    const T* v = at<T>(in.value, event, inside ? list[i] : 0, head);
    for (int e = 0; e < E; ++e) {
      k_of[e * stride + i] = inside ? k[e] : 0;
      v_of[e * stride + i] = inside ? v[e] : 0;
      dk_of[e * stride + i] = dv_of[e * stride + i] = 0;
    }
    bias[i] = inside ? 0 : -infinity;
  }

  const auto row_of = [&](int64_t query) { return ((event * in.queries + query) * in.heads + head) * E; };
  const T* grads = static_cast<const T*>(grad_in);
  const T* outs = static_cast<const T*>(out_in);
  const T* log_sum = static_cast<const T*>(log_sum_in) + (event * in.heads + head) * in.queries;
  T q_of[kQueriesPerChunk][E], delta[kQueriesPerChunk];
  V dq_of[kQueriesPerChunk][E];
  const Neighbours<T> neighbours{count, in.window / 2, in.wrap};
  IndexVec<T> lane;
  for (int l = 0; l < L; ++l) lane[l] = l;
  int64_t low = 0, high = 0, rank[kQueriesPerChunk];  // -1: attends to nothing
  for (int64_t first = 0; first < in.queries; first += kQueriesPerChunk) {
    const int chunk = static_cast<int>(in.queries - first < kQueriesPerChunk ? in.queries - first : kQueriesPerChunk);
    low = high;
    for (int i = 0; i < chunk; ++i) {
      const T* row = at<T>(in.query, event, first + i, head);
      const int64_t place = row_of(first + i);
      delta[i] = 0;
      for (int e = 0; e < E; ++e) {
        q_of[i][e] = row[e] * scale;
        delta[i] += grads[place + e] * outs[place + e];
        dq_of[i][e] = V{};
      }
      if (window) rank[i] = in.mask[event * in.mask_event + first + i] ? high++ : -1;
    }
    for (int64_t begin = 0; begin < padded; begin += L) {
      if (window && !neighbours.reach(low, high, begin, begin + L)) continue;
      V k[E], v[E], dk[E], dv[E];
      for (int e = 0; e < E; ++e) {
        k[e] = load<T>(k_of + e * stride + begin, L);
        v[e] = load<T>(v_of + e * stride + begin, L);
        dk[e] = load<T>(dk_of + e * stride + begin, L);
        dv[e] = load<T>(dv_of + e * stride + begin, L);
      }
      const bool adjacent = begin + L <= count && list[begin + L - 1] - list[begin] == L - 1;
      V outside = load<T>(bias + begin, L);
      for (int i = 0; i < chunk; ++i) {
        const T* g = grads + row_of(first + i);
        if (pairs) {
          const bool* mask = in.mask + event * in.mask_event + (first + i) * in.mask_query;
          bool gathered[L];
          const bool* allowed = adjacent ? mask + list[begin] : gathered;
          if (!adjacent) {
            for (int l = 0; l < L; ++l) gathered[l] = begin + l < count && mask[list[begin + l]];
          }
          if (none<L>(allowed)) continue;
          for (int l = 0; l < L; ++l) outside[l] = allowed[l] ? 0 : -infinity;
        }
        if (window) {
          const IndexVec<T> other = lane + static_cast<typename Vector<T>::Int>(begin);
          const IndexVec<T> of_query = IndexVec<T>{} + static_cast<typename Vector<T>::Int>(rank[i]);
          const IndexVec<T> sees = neighbours.sees(of_query, other) & (load<T>(bias + begin, L) == 0);
          if (bits_where<T>(sees) == 0) continue;
          outside = sees ? V{} : V{} - infinity;
        }
        V s = outside, dp = V{} - delta[i];
        for (int e = 0; e < E; ++e) s += q_of[i][e] * k[e];
        for (int e = 0; e < E; ++e) dp += g[e] * v[e];
        const auto keep = [&](auto x) {
          if constexpr (kSpecial) return outside == 0 ? V{} + x : V{};
          else return x;
        };
        const V p = keep(exp2<T>(s - log_sum[first + i]));
        const V ds = keep(p * dp);
        for (int e = 0; e < E; ++e) {
          dv[e] += p * keep(g[e]);
          dk[e] += ds * keep(q_of[i][e]);
          dq_of[i][e] += ds * keep(k[e]);
        }
      }
      for (int e = 0; e < E; ++e) {
        store<T, T>(dk_of + e * stride + begin, dk[e], L);
        store<T, T>(dv_of + e * stride + begin, dv[e], L);
      }
    }
    for (int i = 0; i < chunk; ++i) {
      T* row = static_cast<T*>(grad_query) + row_of(first + i);
      for (int e = 0; e < E; ++e) row[e] = horizontal_sum<T>(dq_of[i][e]) * root;
    }
  }

  int64_t next = 0;  // in the list
  for (int64_t key = 0; key < in.keys; ++key) {
    const bool inside = next < count && list[next] == key;
    const int64_t place = ((event * in.keys + key) * in.heads + head) * E;
    for (int e = 0; e < E; ++e) {
      static_cast<T*>(grad_key)[place + e] = inside ? dk_of[e * stride + next] / static_cast<T>(kLog2e) : 0;
      static_cast<T*>(grad_value)[place + e] = inside ? dv_of[e * stride + next] : 0;
    }
    next += inside;
  }
  if (kSpecial || !(pairs || window)) return true;
  V odd = {};  // NaN where something is not finite
  for (int64_t query = 0; query < in.queries; ++query) {
    const T* row = static_cast<const T*>(grad_query) + row_of(query);
    for (int e = 0; e < E; e += L) odd += load<T>(row + e, E - e) * 0;
  }
  for (int64_t i = 0; i < padded; i += L) {
    for (int e = 0; e < E; ++e) odd += load<T>(dk_of + e * stride + i, L) * 0 + load<T>(dv_of + e * stride + i, L) * 0;
  }
  return all_true<T>(odd == 0);
}

template <class T, int E>
void backward(
    const AttentionInputs& in, const void* grad, const void* out, const void* log_sum, void* grad_query, void* grad_key,
    void* grad_value, int64_t event, int64_t head, int32_t* list, void* scratch) {
  const auto run = [&](auto pass) {
    return pass(in, grad, out, log_sum, grad_query, grad_key, grad_value, event, head, list, scratch);
  };
  if (!run(backward_pass<T, E, false>)) run(backward_pass<T, E, true>);
}

}  // namespace

constinit const AttentionKernels HITPOOL_TABLE(attention_kernels) = {
    {{forward<double, 4>, backward<double, 4>}, {forward<double, 8>, backward<double, 8>}},
    {{forward<float, 4>, backward<float, 4>}, {forward<float, 8>, backward<float, 8>}}};

}  // namespace hitpool::cpu
