"""The ways to pool that are compared: ours and the alternatives, by name, eager and compiled."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import hitpool
from hitpool.bench import alternatives
from hitpool.bench.cases import Case

OURS = "hitpool"
COMPILED = ", compiled"  # after the name of the alternative that torch.compile compiles

Pool = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    """How to pool, and how many tensors [B, N, M, D] and how many [selected pairs, D] that takes at once, roughly."""

    pool: Pool
    forward: tuple[float, float] = (0, 0)
    backward: tuple[float, float] = (0, 0)


WAYS = {
    OURS: Way(hitpool.weighted_pool),
    "expand": Way(alternatives.expand, (1.5, 0), (5, 0)),
    "bmm": Way(alternatives.bmm, (1.5, 0), (5, 0)),
    "sparse": Way(alternatives.sparse, (0, 2), (0, 8)),
    "segments": Way(alternatives.segments, (0, 2), (0, 4)),
    "torch_geometric": Way(alternatives.torch_geometric, (0, 3), (0, 8)),
    "expand" + COMPILED: Way(alternatives.expand),
    "bmm" + COMPILED: Way(alternatives.bmm),
    "sparse" + COMPILED: Way(alternatives.sparse, (0, 2), (0, 4)),
}
ALTERNATIVES = tuple(name for name in WAYS if name != OURS)


def make(name: str) -> Pool:
    """The function of a way, compiled if its name says so (for the shapes and threads of its first call).

    Args:
        name: Name in `WAYS`.

    Returns:
        Function of logits [B, N, M], features [B, M, D] and valid [B, M] that returns [B, N, 4, D].
    """
    if not name.endswith(COMPILED):
        return WAYS[name].pool
    torch._dynamo.config.capture_dynamic_output_shape_ops = True  # one graph also for a list of selected pairs
    return torch.compile(WAYS[name].pool, dynamic=False)


def missing(name: str) -> str | None:
    """Why a way cannot be taken on this installation.

    Args:
        name: Name in `WAYS`.

    Returns:
        The reason, or None.
    """
    if name == "torch_geometric" and importlib.util.find_spec(name) is None:
        return "not installed"
    return None


def needed_bytes(name: str, case: Case, backward: bool) -> int:
    """Rough upper limit of the memory of a way.

    Args:
        name: Name in `WAYS`.
        case: Its inputs.
        backward: Whether gradients are calculated.

    Returns:
        Bytes beyond the inputs.
    """
    way = WAYS[name]
    cells, rows = way.backward if backward else way.forward
    assignments = case.events * case.tracks * case.hits
    itemsize = max(case.itemsize, 4)
    return round(
        itemsize * case.features * (cells * assignments + rows * case.pairs)
        + 3 * itemsize * assignments  # probabilities, weights, mask
        + 40 * case.pairs  # indices
    )
