"""Direction of a track in the transverse plane, from the coordinates along the wires."""

from typing import NamedTuple

import torch
from torch import Tensor

from hitpool.fits.toroid_hits import TrackHits

CAUCHY = (0.3, 0.1)  # m, widths of the robust weights in the second and third pass


class TransverseLine(NamedTuple):
    """Straight line behind solenoid and calorimeter, and the azimuth at the vertex, [T] each.

    Args:
        vertex: Azimuth at the vertex in rad.
        direction: Azimuth of the line in rad.
        offset: Its distance from the beam line in m, positive to the left of its direction.
    """

    vertex: Tensor
    direction: Tensor
    offset: Tensor


def fit_transverse_line(
    hits: TrackHits,
    weight: Tensor,
    azimuth: Tensor,
    bend: Tensor,
    exit_radius: Tensor,
    kinks: Tensor,
    kink_spread: Tensor,
    passes: int,
    start: bool,
) -> TransverseLine:
    r"""Least squares of $y + D (x - R / 2) = \phi_0 x + k_1 (x - x_1)_+ + k_2 (x - x_2)_+$, x along `azimuth`.

    D is the bend of the solenoid, R the radius at which the track leaves it, and $k_1, k_2$ are the kinks of the
    scattering in the calorimeter.

    Args:
        hits: Hits [T, K].
        weight: Weight of each hit before its error, [T, K].
        azimuth: Direction of the frame [T].
        bend: D [T] in rad.
        exit_radius: R [T] in m.
        kinks: $x_1, x_2$ [T, 2] in m.
        kink_spread: Spread of both kinks [T] in rad.
        passes: Number of fits; those after the first have robust weights from the residuals of the one before.
        start: The weights do not come from a fit: leave out what lies far from the frame.
    """
    cos, sin = azimuth.cos().unsqueeze(1), azimuth.sin().unsqueeze(1)
    x, y = cos * hits.x + sin * hits.y, cos * hits.y - sin * hits.x  # [T, K]
    functions = torch.stack([x, *((x - kink.unsqueeze(1)).clamp(min=0) for kink in kinks.unbind(1))], dim=-1)
    measured = y + bend.unsqueeze(1) * (x - exit_radius.unsqueeze(1) / 2)
    prior = torch.stack([torch.ones_like(kink_spread), kink_spread, kink_spread], dim=1)
    weight = weight / hits.second
    first = weight / (1 + y.square() / (9 * hits.second + 0.09)) * (x > 0) if start else weight
    values = _solve(functions, measured, first, prior)
    for width in CAUCHY[: passes - 1]:
        residual = measured - (functions @ values.unsqueeze(-1)).squeeze(-1)
        values = _solve(functions, measured, weight / (1 + residual.square() / (9 * hits.second + width**2)), prior)
    turn = (values.sum(1) - bend).atan()
    offset = (bend * exit_radius / 2 - (values[:, 1:] * kinks).sum(1)) * turn.cos()
    return TransverseLine(azimuth + values[:, 0], azimuth + turn, offset)


def _solve(functions: Tensor, measured: Tensor, weight: Tensor, prior: Tensor) -> Tensor:
    sums = (functions * weight.unsqueeze(-1)).mT @ torch.cat([functions, measured.unsqueeze(-1)], dim=-1)  # [T, 3, 4]
    matrix = sums[..., :3] + prior.pow(-2).diag_embed()
    solution: Tensor = torch.linalg.solve_ex(matrix, sums[..., 3:])[0].squeeze(-1)
    return solution
