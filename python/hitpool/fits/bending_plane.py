"""Tracks in the plane of the beam line and their direction: a sum of six functions, by weighted least squares."""

from typing import NamedTuple

import torch
from torch import Tensor

from hitpool.fits.bending import Bending


class Frame(NamedTuple):
    """Hits in the bending plane, and the functions of which their places are a sum."""

    u: Tensor  # [T, K] m along the track
    v: Tensor  # [T, K] m across it
    tilt: Tensor  # [T, K] cosine between the planes of track and sector
    functions: Tensor  # [T, K, 6]
    slopes: Tensor  # [T, K, 6]
    bending: Bending
    kinks: Tensor  # [T, 2] m along the track
    prior: Tensor  # [T, 6]


class Solution(NamedTuple):
    """Parameters of T tracks, and what their covariance follows from."""

    values: Tensor  # [T, 6]
    inverse: Tensor  # [T, 6, 6] of the scaled normal matrix
    scale: Tensor  # [T, 6]


def solve(frame: Frame, measured: Tensor, weight: Tensor) -> Solution:
    """Weighted least squares with the priors, scaled to a unit diagonal.

    Args:
        frame: Functions and priors.
        measured: What the sum of the functions is to be, in m, [T, K].
        weight: Weights of the hits in 1/m^2, [T, K].
    """
    columns = torch.cat([frame.functions, measured.unsqueeze(-1)], dim=-1)  # [T, K, 7]
    sums = (frame.functions * weight.unsqueeze(-1)).mT @ columns  # [T, 6, 7]
    matrix = sums[..., :-1] + frame.prior.pow(-2).diag_embed()
    scale = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()  # [T, 6]
    inverse = torch.linalg.inv_ex(matrix * scale.unsqueeze(-1) * scale.unsqueeze(-2))[0]
    values = (inverse @ (sums[..., -1] * scale).unsqueeze(-1)).squeeze(-1) * scale
    return Solution(values, inverse, scale)
