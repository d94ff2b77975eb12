from __future__ import annotations

from torch import Tensor


def check_tensors(op: str, needed: dict[str, object], optional: dict[str, object] | None = None) -> None:
    """Check that arguments are tensors; all else about them the op checks itself.

    Args:
        op: name of the op.
        needed: arguments by name.
        optional: arguments that may be None.

    Raises:
        TypeError: one is something else; names the op, the argument and what came.

    Example:
        >>> check_tensors("weighted_pool", {"logits": [1.0]})
        Traceback (most recent call last):
        TypeError: hitpool::weighted_pool: expected logits to be a tensor, got list
    """
    given = needed | {name: value for name, value in (optional or {}).items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"hitpool::{op}: expected {name} to be a tensor, got {type(value).__name__}")
