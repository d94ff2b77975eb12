from __future__ import annotations

import torch
from torch import Tensor

from hitpool.ops.arguments import check_tensors


def weighted_pool(
    logits: Tensor,  # [..., N, M]
    features: Tensor,  # [..., M, D]
    valid: Tensor | None = None,  # [..., M]
    threshold: float = 0.1,
) -> Tensor:  # [..., N, 4, D]
    """Pool hit features for each track over the hits that are assigned to it.

    With p = sigmoid(logits), hit m is selected for track n if p[n, m] >= threshold and the hit is valid. Over the
    selected hits: mean = sum(p x) / max(sum(p), 1e-8), sum = sum(p x), max and min of x (unweighted). No
    [..., N, M, D] tensor is built. Gradients flow through the weights and the features, not through the selection.

    - No selected hit: all four are 0, and so are their gradients. Ties in max or min: the hit of lowest index counts.
    - What is not selected has no influence, NaN and Inf included. A NaN logit on a valid hit makes the track's results
      NaN; a NaN feature of a selected hit makes its column NaN.
    - Arithmetic, the comparison with the threshold included, is in float32, or in float64 if either input is float64.
      Under autocast the op runs in float32. Results do not depend on the number of threads.

    Args:
        logits: assignment logit of each hit to each track, [..., N, M]. Leading dimensions (events) are free.
        features: hit features in any units, [..., M, D]; the leading dimensions of `logits`.
        valid: False marks a padded hit, [..., M] bool; None means that all hits are valid.
        threshold: least assignment probability of a selected hit, in [0, 1].

    Returns:
        Pooled features [..., N, 4, D] in the order mean, sum, max, min, with the dtype of `features`.

    Raises:
        TypeError: no tensor, unsupported dtype, or a tensor that is not dense.
        ValueError: shapes or devices that do not fit, or a threshold outside [0, 1].

    Example:
        >>> import torch, hitpool
        >>> logits = torch.tensor([[4.0, 4.0, -9.0]])  # one track, three hits; the third is not its own
        >>> radius = torch.tensor([[5.0], [7.0], [9.0]])  # metres
        >>> hitpool.weighted_pool(logits, radius).squeeze(-1)  # mean, sum, max, min
        tensor([[ 6.0000, 11.7842,  7.0000,  5.0000]])
    """
    if not torch.jit.is_scripting():
        check_tensors("weighted_pool", {"logits": logits, "features": features}, {"valid": valid})
    pooled: Tensor = torch.ops.hitpool.weighted_pool(logits, features, valid, threshold=threshold)
    return pooled
