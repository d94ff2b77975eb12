"""What a call costs whatever its size."""

from __future__ import annotations

import torch

import hitpool
from hitpool.bench.cases import SHAPES, Case, make_inputs
from hitpool.bench.timing import medians


def call_overhead(repeat: int = 30) -> dict[str, float]:
    """Times of calls on the smallest shape, on one thread of the CPU.

    Args:
        repeat: Rounds that count.

    Returns:
        Seconds. Without gradients: `call`, `dispatch` (the same call without hits), `torch` (sigmoid of one number).
        Forward and backward: `step`, and `torch step` (sigmoid of one number), which is what autograd takes.
    """
    torch.set_num_threads(1)
    logits, features, valid = make_inputs(Case("trigger", *SHAPES["trigger"]))
    nothing = logits[..., :0].contiguous(), features[:, :0].contiguous(), valid[:, :0].contiguous()
    number = logits[0, 0, :1].clone()
    calls = {
        "call": lambda: hitpool.weighted_pool(logits, features, valid),
        "dispatch": lambda: hitpool.weighted_pool(*nothing),
        "torch": number.sigmoid,
    }
    with torch.inference_mode():
        seconds = medians(calls, repeat)
    leaves = logits.clone().requires_grad_(), features.clone().requires_grad_()
    leaf = number.clone().requires_grad_()
    grad, one = torch.ones(1, 2, 4, features.shape[-1]), torch.ones(1)
    steps = {
        "step": lambda: torch.autograd.grad(hitpool.weighted_pool(*leaves, valid), leaves, grad),
        "torch step": lambda: torch.autograd.grad(leaf.sigmoid(), leaf, one),
    }
    return seconds | medians(steps, repeat)
