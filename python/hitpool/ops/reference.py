"""The ops in plain PyTorch: their definition, the oracle of the tests, and a form for exporters."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def weighted_pool(
    logits: Tensor,  # [..., N, M]
    features: Tensor,  # [..., M, D]
    valid: Tensor | None = None,  # [..., M]
    *,
    threshold: float = 0.1,
) -> Tensor:  # [..., N, 4, D]
    """The definition of `hitpool.weighted_pool`; it builds [..., N, M, D].

    Args:
        logits: assignment logit of each hit to each track, [..., N, M].
        features: hit features, [..., M, D].
        valid: False marks a padded hit, [..., M] bool.
        threshold: least assignment probability of a selected hit.

    Returns:
        Pooled features [..., N, 4, D] in the order mean, sum, max, min, with the dtype of `features`.

    Example:
        >>> from hitpool.ops import reference
        >>> reference.weighted_pool(torch.tensor([[4.0, -9.0]]), torch.tensor([[5.0], [9.0]])).shape
        torch.Size([1, 4, 1])
    """
    double = torch.float64 in (logits.dtype, features.dtype)
    logits = logits.to(torch.float64 if double else torch.float32)
    if valid is not None:  # before anything is computed: NaN that enters an operation stays in its derivatives
        logits = torch.where(valid.unsqueeze(-2), logits, 0.0)
    p = logits.sigmoid()  # [..., N, M]
    selected = ~(p.detach() < torch.tensor(threshold, dtype=p.dtype, device=p.device))  # NaN counts as selected
    if valid is not None:
        selected = selected & valid.unsqueeze(-2)  # [..., N, M]
    x = features.to(p.dtype).unsqueeze(-3)  # [..., 1, M, D]

    weight = torch.where(selected, p, 0.0).unsqueeze(-1)  # [..., N, M, 1]
    weight_sum = weight.sum(-2, keepdim=True)  # [..., N, 1, 1]
    total = (weight * torch.where(selected.unsqueeze(-1), x, 0.0)).sum(-2, keepdim=True)  # [..., N, 1, D]
    mean = total / weight_sum.clamp_min(1e-8)

    # Extrema over M + 1 rows: the last, of zeros, is for no hit; the first selected hit stands in for unselected ones.
    x = torch.cat([x, x.new_zeros(*x.shape[:-2], 1, x.shape[-1])], -2)
    chosen = torch.cat([selected, ~selected.any(-1, keepdim=True)], -1).unsqueeze(-1)  # [..., N, M + 1, 1]
    first = torch.take_along_dim(x, chosen.int().argmax(-2, keepdim=True), -2)  # [..., N, 1, D]
    x = torch.where(chosen, x, first)
    poison = weight_sum - weight_sum  # 0, or NaN if a logit is
    highest, lowest = x.max(-2, keepdim=True).values + poison, x.min(-2, keepdim=True).values + poison
    return torch.cat([mean, total, highest, lowest], -2).to(features.dtype)


def pseudorapidity(theta: Tensor) -> Tensor:
    """The definition of `hitpool.pseudorapidity`, eta = -log(tan(theta / 2)), as accurate as the type allows.

    Args:
        theta: polar angle in radians, any shape.

    Returns:
        eta, dimensionless, shape and dtype of `theta`.

    Example:
        >>> from hitpool.ops import reference
        >>> reference.pseudorapidity(torch.tensor(0.1, dtype=torch.float64)).item()
        2.99489...
    """
    pi = torch.tensor(math.pi, dtype=theta.dtype, device=theta.device)
    end = theta == pi  # taken as theta = 0 from the other side
    inside = (theta >= 0) & (theta <= pi)
    x = torch.where(end, pi - theta, theta + 0.0)  # + 0.0: no -0
    x = x * torch.where(inside, 1.0, math.nan).to(theta.dtype)
    eta = -torch.log(torch.tan(x / 2))
    return torch.where(end, -eta, eta)
