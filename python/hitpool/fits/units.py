"""Units in which the fields of the data come to a track fit."""

from collections.abc import Sequence

import torch
from torch import Tensor


def scale_of(fit: str, fields: Sequence[str], units: dict[str, float] | None) -> Tensor:
    """What brings fields to m and m^2.

    Args:
        fit: Name of the fit, for messages.
        fields: Fields that it reads.
        units: m or m^2 per unit of a field; 1 for those that are not named, and for all if it is None.

    Returns:
        A factor for each field, float64 [F].

    Raises:
        ValueError: `units` names other fields, or a unit is not positive.

    Example:
        >>> scale_of("ToroidFit", ["x", "variance"], {"variance": 1e-6}).tolist()
        [1.0, 1e-06]
    """
    units = units or {}
    if unknown := sorted(set(units) - set(fields)):
        raise ValueError(f"{fit}: units names {unknown}, which it does not read; it reads {list(fields)}")
    if wrong := {name: factor for name, factor in units.items() if not factor > 0}:
        raise ValueError(f"{fit}: units must be positive, got {wrong}")
    return torch.tensor([float(units.get(name, 1.0)) for name in fields], dtype=torch.float64)
