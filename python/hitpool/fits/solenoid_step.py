"""One step of the fit in a solenoid: least squares with correlated errors, and each hit against all others."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hitpool.fits.solenoid_path import Crossings, ModuleHits

FOREIGN_DENSITY = 1e4  # 1/m^2, of hits that are not the track's
FOREIGN_SHARE = 1e-2  # of the hits that the assignment is certain of
LEAST_WEIGHT = 1e-9  # so that a hit without weight can be compared with the others


class Step(NamedTuple):
    """Result of a step.

    Args:
        change: Of the parameters, [T, 5].
        covariance: [T, 5, 5].
        posterior: Probability of each hit after the fit of the others, [T, K].
        chi2: Of the fit, [T].
        log_likelihood: Of all hits, each after the fit of the others, against all foreign, [T].
    """

    change: Tensor
    covariance: Tensor
    posterior: Tensor
    chi2: Tensor
    log_likelihood: Tensor


def step(
    hits: ModuleHits, crossings: Crossings, kinks: Tensor, weight: Tensor, width: float, prior: Tensor, centre: Tensor
) -> Step:
    r"""Least squares with measurement errors and scattering.

    Weighted by $w / V$, with $W = \sqrt{w / V}$, the residuals have the covariance $A = 1 + W S W$, S that of the
    scattering. With $Q = A^{-1} - A^{-1} H C H^T A^{-1}$, H the derivatives, C the covariance of the result and y the
    residuals, the fit of all other hits misses hit i by $Q_{ii}^{-1} (Q y)_i$, with covariance $Q_{ii}^{-1}$, in
    units of 1 / W.

    Args:
        hits: Hits [T, K].
        crossings: Where the helix crosses.
        kinks: What kinks with their standard deviation change in both coordinates, [T, 2 K, 2 K].
        weight: w of each hit, [T, K].
        width: By which the measurement errors are widened, in m.
        prior: Standard deviations of the parameters [T, 5].
        centre: Where their prior is, less where they are, [T, 5].
    """
    number = weight.shape[1]
    scale = (weight.clamp(min=LEAST_WEIGHT).unsqueeze(-1) / (hits.variance + width**2)).sqrt()  # [T, K, 2]
    spread = kinks * scale.flatten(1).unsqueeze(-1)
    covariance = spread @ spread.mT + torch.eye(2 * number, dtype=kinks.dtype, device=kinks.device)
    known = torch.cat([crossings.derivative, crossings.residual.unsqueeze(-1)], dim=-1) * scale.unsqueeze(-1)
    lower = torch.linalg.cholesky_ex(covariance)[0]  # [T, 2 K, 2 K]
    unit = torch.eye(2 * number, dtype=kinks.dtype, device=kinks.device).expand_as(lower)
    root = torch.linalg.solve_triangular(lower, unit, upper=False)
    white = root @ known.flatten(1, 2)  # [T, 2 K, 6]
    sums = white[..., :5].mT @ white  # [T, 5, 6]
    matrix, vector = sums[..., :5] + prior.pow(-2).diag_embed(), sums[..., 5] + centre / prior.square()
    size = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()
    size = size.unsqueeze(-1) * size.unsqueeze(-2)
    result = torch.linalg.inv_ex(matrix * size)[0] * size
    change = (result @ vector.unsqueeze(-1)).squeeze(-1)
    left = white[..., 5] - (white[..., :5] @ change.unsqueeze(-1)).squeeze(-1)  # [T, 2 K]
    apart = root.mT @ torch.cat([white[..., :5], left.unsqueeze(-1)], dim=-1)  # [T, 2 K, 6]
    missed = apart[..., 5].unflatten(1, (number, 2))  # Q y
    derivative = apart[..., :5].unflatten(1, (number, 2))  # [T, K, 2, 5]
    block = root.unflatten(2, (number, 2)).permute(0, 2, 3, 1)  # [T, K, 2, 2 K]
    block = block @ block.mT - derivative @ result.unsqueeze(1) @ derivative.mT  # [T, K, 2, 2]
    chi2, density = _compare(missed, block, scale, hits.variance + width**2)
    p = hits.probability
    likelihood = (-chi2.clamp(min=0) / 2).exp() * density
    foreign = (1 - p + FOREIGN_SHARE) * FOREIGN_DENSITY
    total = p * likelihood + foreign
    return Step(
        change=change,
        covariance=result,
        posterior=p * likelihood / total,
        chi2=left.square().sum(1),
        log_likelihood=torch.where(p > 0, (total / foreign).log(), 0.0).sum(1),
    )


def _compare(missed: Tensor, block: Tensor, scale: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """chi2 of each hit to the fit of the others, with its measurement error, and the density at chi2 = 0 in 1/m^2."""
    inverse, _ = _invert(block)  # [T, K, 2, 2]
    missed = (inverse @ missed.unsqueeze(-1)) / scale.unsqueeze(-1)  # [T, K, 2, 1] in m
    one = torch.eye(2, dtype=block.dtype, device=block.device)
    covariance = (inverse - one) / (scale.unsqueeze(-1) * scale.unsqueeze(-2)) + variance.diag_embed()
    inverse, determinant = _invert(covariance)
    return (missed.mT @ inverse @ missed).flatten(-3), determinant.rsqrt() / (2 * math.pi)


def _invert(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse [..., 2, 2] and determinant [...] of symmetric matrices."""
    first, mixed, second = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    determinant = (first * second - mixed.square()).clamp(min=1e-30)
    inverse = torch.stack([second, -mixed, -mixed, first], dim=-1).unflatten(-1, (2, 2))
    return inverse / determinant[..., None, None], determinant
