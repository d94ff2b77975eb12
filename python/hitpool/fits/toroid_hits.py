"""Hits of each track as the toroid fit sees them: tubes and strips, each with the azimuth across which it measures."""

from typing import NamedTuple

import torch
from torch import Tensor

from hitpool.fits.gathered import gather_hits

NO_HIT = (5.0, 1.0, 0.0, 5.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1.0)  # a tube, so that no derivative is NaN


class TrackHits(NamedTuple):
    """The K most probable hits of T tracks, float64 in m and rad, [T, K] each.

    Args:
        probability: Assignment probability p; 0 where the hit is not selected.
        x, y, z: Middle of the wire or strip.
        azimuth: Direction in the transverse plane across the wire: normal of the sector.
        distance: Distance of the wire from the beam line along `azimuth`.
        radius: Drift radius; 0 for strips.
        error: Spread of the drift radius or of the measured coordinate.
        second: Variance of the coordinate along the wire.
        tube: bool, whether it is a drift tube.
    """

    probability: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    azimuth: Tensor
    distance: Tensor
    radius: Tensor
    error: Tensor
    second: Tensor
    tube: Tensor


def most_probable_hits(
    hits: Tensor, no_hit: Tensor, logits: Tensor, valid: Tensor | None, threshold: float, number: int
) -> tuple[TrackHits, Tensor]:
    """Gathers the hits with the largest probability of each track.

    Args:
        hits: x, y, z of both ends of the wire in m, drift radius in m, its variance in m^2, variance along the wire in
            m^2, 1 for drift tubes and 0 for strips, [B, M, 10].
        no_hit: What stands for a hit where there is none, [10].
        logits: Assignment logits [B, N, M].
        valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
        threshold: Probability from which a hit takes part.
        number: K.

    Returns:
        Hits of T = B N tracks, and their numbers among the M hits [T, K]; what is not selected has number M.
    """
    own, probability, index = gather_hits(hits, no_hit, logits, valid, threshold, number)  # [T, K, 10]
    high, low, rest = own.split([3, 3, 4], dim=-1)
    radius, variance, second, tube = rest.unbind(-1)
    x, y, z = ((high + low) / 2).unbind(-1)
    along_x, along_y, _ = (high - low).unbind(-1)
    length = torch.hypot(along_x, along_y).clamp(min=1e-9)
    along_x, along_y = along_x / length, along_y / length
    distance = x * along_y - y * along_x
    outward = torch.where(distance < 0, -1.0, 1.0)  # whichever end of the wire is called high
    along_x, along_y = outward * along_x, outward * along_y
    return TrackHits(
        probability=probability,
        x=x,
        y=y,
        z=z,
        azimuth=torch.atan2(-along_x, along_y),
        distance=outward * distance,
        radius=torch.where(tube > 0.5, radius, 0.0),
        error=variance.clamp(min=1e-12).sqrt(),
        second=second.clamp(min=1e-6),
        tube=tube > 0.5,
    ), index
