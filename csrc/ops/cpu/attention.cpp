#include "ops/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>

#include "ops/cpu/attention_kernel.h"
#include "ops/cpu/capability.h"

namespace hitpool {
namespace {

constexpr int64_t kGrain = 32768;  // scores per task, below which a thread costs more than it saves

const cpu::AttentionKernel& kernel(const at::Tensor& query) {
  static const auto& chosen = HITPOOL_CHOOSE(cpu::attention_kernels);
  const auto& sizes = query.scalar_type() == at::kDouble ? chosen.float64 : chosen.float32;
  return query.size(-1) == 4 ? sizes.size4 : sizes.size8;
}

at::Tensor contiguous_features(const at::Tensor& tensor) {
  return tensor.size(-1) == 1 || tensor.stride(-1) == 1 ? tensor : tensor.contiguous();
}

// Keeps the copies alive, if there are any.
struct Call {
  at::Tensor query, key, value, mask;
  int64_t events;
  cpu::AttentionInputs inputs{};

  Call(
      const at::Tensor& query_in, const at::Tensor& key_in, const at::Tensor& value_in,
      const std::optional<at::Tensor>& mask_in, int64_t window, bool wrap)
      : query(contiguous_features(query_in)),
        key(contiguous_features(key_in)),
        value(contiguous_features(value_in)),
        events(query.size(0)) {
    const auto array = [](const at::Tensor& tensor) {
      return cpu::AttentionArray{tensor.const_data_ptr(), tensor.stride(0), tensor.stride(1), tensor.stride(2)};
    };
    inputs.queries = query.size(1);
    inputs.keys = key.size(1);
    inputs.heads = query.size(2);
    inputs.size = query.size(3);
    inputs.query = array(query);
    inputs.key = array(key);
    inputs.value = array(value);
    inputs.window = std::min(window, 2 * inputs.keys);  // that sees everything
    inputs.wrap = wrap;
    if (!mask_in.has_value()) return;
    mask = contiguous_features(*mask_in);
    inputs.mask = mask.const_data_ptr<bool>();
    inputs.mask_event = mask.stride(0);
    inputs.mask_query = mask.size(1) == 1 ? 0 : mask.stride(1);
  }

  // Memory of a task: lists of keys, and numbers.
  struct Scratch {
    std::unique_ptr<int32_t[]> list;
    std::unique_ptr<char[]> numbers;
  };
  Scratch scratch(int64_t numbers) const {
    return {
        std::make_unique_for_overwrite<int32_t[]>(2 * inputs.keys),
        std::make_unique_for_overwrite<char[]>(numbers * query.element_size())};
  }
};

void forward(const Call& call, at::Tensor& out, void* log_sum) {
  const auto& inputs = call.inputs;
  const auto run = kernel(call.query).forward;
  void* to = out.mutable_data_ptr();
  const int64_t blocks = at::divup(inputs.queries, cpu::kAttentionLanes);
  const int64_t scores = cpu::kAttentionLanes * cpu::attention_block_keys(inputs) * inputs.heads;
  at::parallel_for(
      0, call.events * blocks, std::max<int64_t>(1, kGrain / (1 + scores)), [&](int64_t begin, int64_t end) {
        const auto scratch = call.scratch(cpu::attention_forward_scratch(inputs));
        for (int64_t task = begin; task < end; ++task) {
          run(inputs, to, log_sum, task / blocks, task % blocks * cpu::kAttentionLanes, scratch.list.get(),
              scratch.numbers.get());
        }
      });
}

at::Tensor attention_cpu(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap) {
  check_attention(query, key, value, mask, window);
  const Call call(query, key, value, mask, window, wrap);
  auto out = at::empty(query.sizes(), query.options());
  forward(call, out, nullptr);
  return out;
}

std::tuple<at::Tensor, at::Tensor> attention_with_log_sum_cpu(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    int64_t window, bool wrap) {
  check_attention(query, key, value, mask, window);
  const Call call(query, key, value, mask, window, wrap);
  auto out = at::empty(query.sizes(), query.options());
  auto log_sum = at::empty({query.size(0), query.size(2), query.size(1)}, query.options());
  forward(call, out, log_sum.mutable_data_ptr());
  return {std::move(out), std::move(log_sum)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_cpu(
    const at::Tensor& grad_in, const at::Tensor& out_in, const at::Tensor& log_sum_in, const at::Tensor& query,
    const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask, int64_t window, bool wrap) {
  check_attention_backward(grad_in, out_in, log_sum_in, query, key, value, mask, window);
  const Call call(query, key, value, mask, window, wrap);
  const auto& inputs = call.inputs;
  const auto grad = grad_in.contiguous(), out = out_in.contiguous(), log_sum = log_sum_in.contiguous();
  auto grad_query = at::empty(query.sizes(), query.options());
  auto grad_key = at::empty(key.sizes(), key.options());
  auto grad_value = at::empty(value.sizes(), value.options());
  void* to[] = {grad_query.mutable_data_ptr(), grad_key.mutable_data_ptr(), grad_value.mutable_data_ptr()};
  const auto run = kernel(query).backward;
  const int64_t scores = inputs.queries * cpu::attention_block_keys(inputs);
  at::parallel_for(
      0, call.events * inputs.heads, std::max<int64_t>(1, kGrain / (1 + scores)), [&](int64_t begin, int64_t end) {
        const auto scratch = call.scratch(cpu::attention_backward_scratch(inputs));
        for (int64_t task = begin; task < end; ++task) {
          run(inputs, grad.const_data_ptr(), out.const_data_ptr(), log_sum.const_data_ptr(), to[0], to[1], to[2],
              task / inputs.heads, task % inputs.heads, scratch.list.get(), scratch.numbers.get());
        }
      });
  return {std::move(grad_query), std::move(grad_key), std::move(grad_value)};
}

}  // namespace

TORCH_LIBRARY_IMPL(hitpool, CPU, m) {
  m.impl("attention", TORCH_FN(attention_cpu));
  m.impl("_attention_with_log_sum", TORCH_FN(attention_with_log_sum_cpu));
  m.impl("_attention_backward", TORCH_FN(attention_backward_cpu));
}

}  // namespace hitpool
