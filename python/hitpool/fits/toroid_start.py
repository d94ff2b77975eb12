"""Where the toroid fit starts: azimuth, dip angle, and the best line through two hits."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hitpool.fits.toroid_hits import TrackHits

AZIMUTH_SPREAD = 0.03  # rad, of a bent and scattered track
ROAD = 0.03  # m, width of the road around a line through two hits
NEIGHBOURS = 6  # hits at each end of the track of which pairs are tried


def start_azimuth(hits: TrackHits, weight: Tensor) -> Tensor:
    r"""Azimuth of the hit that most others agree with.

    The score of hit k is $\sum_m w_m / s_k \exp(-(1 - \cos(\phi_m - \phi_k)) / s_k^2)$, with $s_k$ the error of its
    azimuth; hits without second coordinate count half.

    Args:
        hits: Hits [T, K].
        weight: Weight of each hit [T, K]; 0 where it is not selected.

    Returns:
        [T] in rad.
    """
    squared = hits.second / (hits.x.square() + hits.y.square() + 1e-9) + AZIMUTH_SPREAD**2  # [T, K]
    unit = normalize(torch.stack([hits.x, hits.y], dim=-1), dim=-1)  # [T, K, 2]
    agreement = ((unit @ unit.mT - 1) / squared.unsqueeze(-1)).exp()  # [T, K, K]
    score = (agreement @ weight.unsqueeze(-1)).squeeze(-1) * squared.rsqrt()
    score = score * torch.where(hits.second < 0.3, 1.0, 0.5) * (hits.probability > 0)
    best = score.argmax(dim=1, keepdim=True)
    return torch.atan2(hits.y, hits.x).gather(1, best).squeeze(1)


def start_dip(hits: TrackHits, weight: Tensor) -> Tensor:
    """Weighted median of the dip angles of the hits, seen from the origin.

    Args:
        hits: Hits [T, K].
        weight: Weight of each hit [T, K].

    Returns:
        [T] in rad.
    """
    angle = torch.atan2(hits.z, hits.distance)
    order = angle.argsort(dim=1)
    total = weight.gather(1, order).cumsum(dim=1)
    middle = (total < 0.5 * total[:, -1:]).sum(dim=1, keepdim=True).clamp(max=angle.shape[1] - 1)
    return angle.gather(1, order).gather(1, middle).squeeze(1)


def start_parameters(u: Tensor, v: Tensor, probability: Tensor, functions: Tensor, prior: Tensor) -> Tensor:
    r"""Parameters of the line through two hits that most hits lie close to.

    Pairs are made of hits at $2 \times 6$ quantiles of u, one from each half. A pair moves the parameters from 0 as two
    exact measurements would, $a = C \Phi_2^T (\Phi_2 C \Phi_2^T)^{-1} v_2$ with the prior covariance C; its score
    is $\sum p \exp(-r^2 / 2 (30\,\mathrm{mm})^2)$, less a part of the $\chi^2$ to the prior.

    Args:
        u: Coordinate along the track [T, K].
        v: Coordinate across it [T, K].
        probability: Assignment probability [T, K].
        functions: Value of each function at each hit [T, K, P].
        prior: Spread of each parameter [T, P].

    Returns:
        [T, P].
    """
    count = u.shape[1]
    order = torch.where(probability > 0, u, torch.inf).argsort(dim=1, stable=True)
    total = probability.gather(1, order).cumsum(dim=1)
    quantile = (torch.arange(2 * NEIGHBOURS, dtype=u.dtype, device=u.device) + 0.5) / (2 * NEIGHBOURS)
    place = (total.unsqueeze(-1) < quantile * total[:, -1:, None]).sum(dim=1).clamp(max=count - 1)  # [T, 2S]
    chosen = order.gather(1, place)
    phi = functions.gather(1, chosen.unsqueeze(-1).expand(-1, -1, functions.shape[-1]))  # [T, 2S, P]
    measured = v.gather(1, chosen)
    weighted = phi * prior.square().unsqueeze(1)
    covariance = weighted @ phi.mT + 1e-4 * torch.eye(2 * NEIGHBOURS, dtype=u.dtype, device=u.device)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    first, last = variance[:, :NEIGHBOURS, None], variance[:, None, NEIGHBOURS:]
    both = covariance[:, :NEIGHBOURS, NEIGHBOURS:]  # [T, S, S]
    determinant = first * last - both.square()
    near, far = measured[:, :NEIGHBOURS, None], measured[:, None, NEIGHBOURS:]
    pull_near, pull_far = (last * near - both * far) / determinant, (first * far - both * near) / determinant
    parameters = (
        pull_near.unsqueeze(-1) * weighted[:, :NEIGHBOURS, None]
        + pull_far.unsqueeze(-1) * weighted[:, None, NEIGHBOURS:]
    ).flatten(1, 2)  # [T, S S, P]
    residual = v.unsqueeze(1) - parameters @ functions.mT  # [T, S S, K]
    close = (residual.square() * (-0.5 / ROAD**2)).exp()
    score = (close @ probability.unsqueeze(-1)).squeeze(-1) - 0.15 * (near * pull_near + far * pull_far).flatten(1)
    best = score.argmax(dim=1).view(-1, 1, 1).expand(-1, 1, parameters.shape[-1])
    return parameters.gather(1, best).squeeze(1)
