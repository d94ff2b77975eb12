// attention: softmax(q k^T / sqrt(E)) v for each head, for heads of few features on CPU.
//
// query [B, Q, H, E] with E 4 or 8, key and value [B, K, H, E], mask [B, 1 or Q, K] bool or none, True where attention is allowed
// -> [B, Q, H, E]. With a window queries and keys are the same hits, of which those that the mask [B, 1, K] allows are in
// an order: each attends to the `window` / 2 before it and behind it, the first ones following the last ones with
// `wrap`. A query that may attend to nothing gets 0. On CPU, what a query may not attend to changes no bit of
// its result and gradient, and nothing of the query reaches the gradient of such a key, whatever they hold.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace hitpool {

// Throw unless the arguments fit together.
void check_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window);
void check_attention_backward(
    const at::Tensor& grad, const at::Tensor& out, const at::Tensor& log_sum, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask, int64_t window);

// Which pairs of hits see each other, bool [B, K, K], from a mask [B, 1, K].
at::Tensor window_pairs(const at::Tensor& mask, int64_t window, bool wrap);

// Call through the dispatcher. log_sum [B, H, Q]: base 2 logarithm of the sum of 2^(score log2(e)), for the backward.
at::Tensor attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap);
std::tuple<at::Tensor, at::Tensor> attention_with_log_sum(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap);
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& grad, const at::Tensor& out, const at::Tensor& log_sum, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask, int64_t window, bool wrap);

}  // namespace hitpool
