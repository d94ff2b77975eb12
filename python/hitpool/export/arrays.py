"""What a deployed model takes, checked in front of formats that do not check it themselves."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Run = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def checked(run: Callable[[Tensor, Tensor], Sequence[Tensor]], metadata: dict[str, Any]) -> Run:
    """Puts a check of the arrays in front of a model that would compute nonsense from wrong ones.

    Args:
        run: Takes hits [B, M, C] and valid [B, M], gives three tensors.
        metadata: Of the exported model.

    Returns:
        The same, which raises a ValueError that says what was expected and what came if a shape, dtype or device is
        another one.
    """
    columns = [column["name"] for column in metadata["inputs"][0]["columns"]]

    def call(hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        check_arrays(hits, valid, columns)
        parameters, track_probability, hit_probability = run(hits.contiguous(), valid.contiguous())
        return parameters, track_probability, hit_probability

    return call


def check_arrays(hits: Tensor, valid: Tensor, columns: Sequence[str]) -> None:
    """Checks what a deployed model is given.

    Args:
        hits: Expected float32 [B, M, C].
        valid: Expected bool [B, M].
        columns: Names of the C columns.

    Raises:
        ValueError: A shape, dtype or device is another one.
    """
    if hits.ndim != 3 or hits.shape[-1] != len(columns):
        raise ValueError(
            f"hits: expected shape [events, hits, {len(columns)}] with the columns {', '.join(columns)}, got "
            f"{list(hits.shape)}"
        )
    if hits.dtype != torch.float32:
        raise ValueError(f"hits: expected float32, got {_name(hits)}")
    if valid.shape != hits.shape[:2]:
        raise ValueError(
            f"valid: expected shape {list(hits.shape[:2])}, one for each of the hits, got {list(valid.shape)}"
        )
    if valid.dtype != torch.bool:
        raise ValueError(f"valid: expected bool, false at padded hits, got {_name(valid)}")
    for name, tensor in (("hits", hits), ("valid", valid)):
        if tensor.device.type != "cpu":
            raise ValueError(f"{name}: expected a tensor on the CPU, got {tensor.device}")


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
