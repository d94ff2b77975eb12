"""Bending in a magnetic field along a nearly straight path, integrated twice."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

GEV_PER_TESLA_METRE = 0.299792458
START, STEP, POINTS = 4.0, 0.2, 111  # grid along the path in m: from 4 to 26


class Bending(NamedTuple):
    """Displacement K and its slope K' for q/p = 1/GeV, along the paths of T tracks.

    Args:
        value: K in m at the points of the grid, [T, G].
        slope: K' there, [T, G].
        rate: K'' there in 1/m, [T, G].
    """

    value: Tensor
    slope: Tensor
    rate: Tensor

    def at(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """K and K' anywhere on the path.

        Args:
            u: Places in m, [T, K].

        Returns:
            [T, K] each.
        """
        cell = ((u.detach().nan_to_num() - START) / STEP).floor().clamp(0, POINTS - 2).long()
        step = u - START - STEP * cell.to(u.dtype)
        rate, slope = self.rate.gather(1, cell), self.slope.gather(1, cell)
        change = (self.rate.gather(1, cell + 1) - rate) / STEP
        value = self.value.gather(1, cell) + step * (slope + step * (rate / 2 + step * change / 6))
        return value, slope + step * (rate + step * change / 2)


def grid(like: Tensor) -> Tensor:
    """Points along the path in m, [G]."""
    return START + STEP * torch.arange(POINTS, dtype=like.dtype, device=like.device)


def bend(field: Tensor, slope: Tensor) -> Bending:
    r"""Solves $K'' = 0.2998\,B\,(1 + v'^2)^{3/2}$ with K = K' = 0 at the beginning, B linear between the points.

    Args:
        field: B in T at the points of the grid on the path, [T, G].
        slope: v' there, [T, G].
    """
    rate = GEV_PER_TESLA_METRE * field * (1 + slope.square()).pow(1.5)
    left, right = rate[:, :-1], rate[:, 1:]
    first = pad(((left + right) * (STEP / 2)).cumsum(1), (1, 0))
    value = pad((first[:, :-1] * STEP + (2 * left + right) * (STEP**2 / 6)).cumsum(1), (1, 0))
    return Bending(value, first, rate)
