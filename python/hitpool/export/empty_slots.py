"""Slots without a track, whose parameters are not compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Results = tuple[Tensor, Tensor, Tensor]


def threshold_of(results: Sequence[Results], threshold: float) -> float:
    """Track probability from which the parameters of a slot are compared.

    Args:
        results: What the model says of all events of the check; parameters [B, N, K], track probability [B, N] and hit
            probability [B, N, M] each.
        threshold: That from which a slot holds a track.

    Returns:
        The threshold; 0, for all slots, if none holds a track: then there would be no parameters to compare.
    """
    return threshold if any((track >= threshold).any() for _, track, _ in results) else 0.0


def are_empty(got: Results, wanted: Results, threshold: float) -> Tensor:
    """Whether neither of the two finds a track in a slot, bool [B, N]; NaN is no statement that it is empty.

    Args:
        got: Parameters [B, N, K], track probability [B, N] and hit probability [B, N, M].
        wanted: The same of the original.
        threshold: Track probability from which a slot holds a track.
    """
    return (got[1] < threshold) & (wanted[1] < threshold)


def without_empty(got: Results, wanted: Results, threshold: float) -> Results:
    """Results with the original's parameters in empty slots, so that they do not differ there.

    Nobody reads the parameters of a slot that is declared empty. With more queries than tracks there are many: the hits
    of such a query are no track, its annealed fit goes from one of several minima to another by rounding, and no two
    kernels agree in it. A parameter that is finite in one of the two alone stays as it is, and differs.

    Args:
        got: Parameters [B, N, K], track probability [B, N] and hit probability [B, N, M].
        wanted: The same of the original.
        threshold: Track probability from which a slot holds a track.
    """
    free = are_empty(got, wanted, threshold).unsqueeze(-1) & got[0].isfinite() & wanted[0].isfinite()
    return torch.where(free, wanted[0], got[0]), got[1], got[2]
