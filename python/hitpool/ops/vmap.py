"""How the ops run under `torch.func.vmap`: the whole batch in one call, without the loop that is torch's fallback."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def register_rules() -> None:
    """Give every op its rule. The ops must have been loaded, and this is done once.

    The batch V is one more leading dimension; attention and the fits have one leading dimension, so there [V, B]
    becomes [V B].
    """
    pool = ("weighted_pool", "_weighted_pool_for_backward", "_weighted_pool_backward")
    for name in (*pool, "pseudorapidity", "_pseudorapidity_backward"):
        _register(name, joined=False)
    for name in ("attention", "_attention_with_log_sum", "_attention_backward", "toroid_fit", "solenoid_fit"):
        _register(name, joined=True)


def _register(name: str, joined: bool) -> None:
    op = getattr(torch.ops.hitpool, name)

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any, **keywords: Any) -> tuple[Any, Any]:
        opened = [
            _batch_first(argument, dim, info.batch_size) if isinstance(argument, Tensor) else argument
            for argument, dim in zip(arguments, in_dims, strict=True)
        ]
        if not joined:
            return op(*opened, **keywords), 0
        events = opened[0].shape[:2]  # V, B
        results = op(*(x.flatten(0, 1) if isinstance(x, Tensor) else x for x in opened), **keywords)
        if isinstance(results, Tensor):
            return results.unflatten(0, events), 0
        return tuple(result.unflatten(0, events) for result in results), 0

    torch.library.register_vmap(f"hitpool::{name}", rule)


def _batch_first(tensor: Tensor, dim: int | None, batch_size: int) -> Tensor:
    return tensor.expand(batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
