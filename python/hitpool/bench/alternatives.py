"""What would be used without `hitpool.weighted_pool`, each written as well as PyTorch allows.

All take logits [B, N, M], features [B, M, D] and valid [B, M], and return mean, sum, max, min [B, N, 4, D].
"""

from __future__ import annotations

import torch
from torch import Tensor

from hitpool.bench.cases import THRESHOLD


def weights(logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Which hits a track selects, and the probabilities of those; 0 for the others.

    Args:
        logits: [B, N, M].
        valid: [B, M].

    Returns:
        selected [B, N, M] bool, weight [B, N, M], in float32 for shorter types.
    """
    p = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
    selected = (p >= THRESHOLD) & valid.unsqueeze(-2)
    return selected, torch.where(selected, p, 0.0)


def expand(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Broadcasts to [B, N, M, D], as the original does.

    Args:
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].

    Returns:
        [B, N, 4, D].
    """
    selected, weight = weights(logits, valid)
    x = features.to(weight.dtype).unsqueeze(-3)  # [B, 1, M, D]
    total = (weight.unsqueeze(-1) * x).sum(-2)  # [B, N, D]
    highest, lowest = _masked_extrema(selected, x)
    return _join(weight, total, highest, lowest, features.dtype)


def bmm(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Sums by matrix multiplication, masked maximum and minimum.

    Args:
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].

    Returns:
        [B, N, 4, D].
    """
    selected, weight = weights(logits, valid)
    total = torch.bmm(weight.to(features.dtype), features)  # [B, N, D]
    highest, lowest = _masked_extrema(selected, features.unsqueeze(-3))
    return _join(weight, total, highest, lowest, features.dtype)


def sparse(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Sums by matrix multiplication, maximum and minimum over the list of selected pairs.

    Args:
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].

    Returns:
        [B, N, 4, D].
    """
    selected, weight = weights(logits, valid)
    total = torch.bmm(weight.to(features.dtype), features)  # [B, N, D]
    rows, segment, _ = _selected_rows(selected, features)
    index = segment.unsqueeze(-1).expand_as(rows)  # [P, D]
    empty = features.new_zeros(total.shape).flatten(0, 1)  # [B N, D]
    highest, lowest = (
        empty.scatter_reduce(0, index, rows, way, include_self=False).view_as(total) for way in ("amax", "amin")
    )
    return _join(weight, total, highest, lowest, features.dtype)


def segments(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Sums by matrix multiplication, `torch.segment_reduce` over the list of selected pairs.

    Args:
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].

    Returns:
        [B, N, 4, D].
    """
    selected, weight = weights(logits, valid)
    total = torch.bmm(weight.to(features.dtype), features)  # [B, N, D]
    rows, _, lengths = _selected_rows(selected, features)
    highest, lowest = (
        torch.segment_reduce(rows, way, lengths=lengths, unsafe=True).view_as(total) for way in ("max", "min")
    )
    some = (lengths > 0).view(*total.shape[:2], 1)
    highest, lowest = (torch.where(some, extremum, 0.0) for extremum in (highest, lowest))
    return _join(weight, total, highest, lowest, features.dtype)


def torch_geometric(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Aggregations of torch_geometric over the list of selected pairs.

    Args:
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].

    Returns:
        [B, N, 4, D].
    """
    from torch_geometric.nn.aggr import MultiAggregation, SumAggregation

    selected, weight = weights(logits, valid)
    rows, segment, _ = _selected_rows(selected, features)
    size = selected.shape[0] * selected.shape[1]
    weighted = weight[selected].to(rows.dtype).unsqueeze(-1) * rows  # [P, D]
    shape = *selected.shape[:2], features.shape[-1]
    total = SumAggregation()(weighted, segment, dim_size=size).view(shape)
    extrema = MultiAggregation(["max", "min"])(rows, segment, dim_size=size)  # [B N, 2 D]
    highest, lowest = (extremum.reshape(shape) for extremum in extrema.chunk(2, -1))
    return _join(weight, total, highest, lowest, features.dtype)


def _masked_extrema(selected: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum and minimum [B, N, D] over the selected hits [B, N, M] of x [B, 1, M, D]; 0 without any."""
    chosen, some = selected.unsqueeze(-1), selected.any(-1, keepdim=True)
    highest = torch.where(chosen, x, -torch.inf).amax(-2)
    lowest = torch.where(chosen, x, torch.inf).amin(-2)
    return torch.where(some, highest, 0.0), torch.where(some, lowest, 0.0)


def _selected_rows(selected: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Feature rows [P, D] of the selected pairs, their track [P] among all B N, pairs of each track [B N]."""
    event, track, hit = selected.nonzero(as_tuple=True)
    hits, tracks = features.shape[1], selected.shape[1]
    rows = features.flatten(0, 1).index_select(0, event * hits + hit)
    return rows, event * tracks + track, selected.sum(-1).flatten()


def _join(weight: Tensor, total: Tensor, highest: Tensor, lowest: Tensor, dtype: torch.dtype) -> Tensor:
    mean = total / weight.sum(-1, keepdim=True).clamp_min(1e-8)
    return torch.stack([mean.to(dtype), total.to(dtype), highest.to(dtype), lowest.to(dtype)], -2)
