from __future__ import annotations

import torch
from torch import Tensor

from hitpool.ops.arguments import check_tensors


def pseudorapidity(theta: Tensor) -> Tensor:
    """Pseudorapidity of a polar angle, accurate over the whole range.

    eta = -log(tan(theta / 2)), d eta / d theta = -1 / sin(theta). At most 2 (float32) and 4 (float64) units in the
    last place from the exact value for every theta in (0, pi), also near eta = 0.

    Args:
        theta: polar angle in radians, any shape; float64, float32, bfloat16 or float16. Under autocast float32 is used.

    Returns:
        eta, dimensionless, shape and dtype of `theta`. theta = 0 gives +inf, theta = pi (rounded to the dtype) gives
        -inf, outside [0, pi] gives NaN.

    Raises:
        TypeError: `theta` is no tensor, not of a supported dtype, or not dense.

    Reference:
        Particle Data Group, Review of Particle Physics, "Kinematics", section on pseudorapidity.

    Example:
        >>> import math, torch, hitpool
        >>> hitpool.pseudorapidity(torch.tensor([math.pi / 2, 0.1], dtype=torch.float64))
        tensor([6.1232e-17, 2.9949e+00], dtype=torch.float64)
    """
    if not torch.jit.is_scripting():
        check_tensors("pseudorapidity", {"theta": theta})
    eta: Tensor = torch.ops.hitpool.pseudorapidity(theta)
    return eta
