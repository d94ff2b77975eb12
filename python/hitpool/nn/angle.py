"""Angles."""

import math

import torch
from torch import Tensor


def wrap_angle(angle: Tensor) -> Tensor:
    """Bring angles into (-pi, pi].

    Args:
        angle: Any shape, radians.

    Returns:
        The same angles modulo 2 pi.

    Example:
        >>> wrap_angle(torch.tensor([4.0, -3.0, 7.0]))
        tensor([-2.2832, -3.0000,  0.7168])
    """
    return math.pi - torch.remainder(math.pi - angle, 2 * math.pi)
