"""What a call costs whatever its size."""

from __future__ import annotations

import torch

import hitpool
from hitpool.bench.cases import SHAPES, Case, make_inputs
from hitpool.bench.timing import medians


def call_overhead(repeat: int = 30) -> dict[str, float]:
    """Times of calls on the smallest shape, without gradients, on one thread of the CPU.

    Args:
        repeat: Rounds that count.

    Returns:
        Seconds: `call`, `dispatch` (the same call without hits), `torch` (an op of torch on one number).
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
        return medians(calls, repeat)
