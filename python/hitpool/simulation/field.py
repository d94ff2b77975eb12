"""The toroidal magnetic field: azimuthal, so it bends tracks in the (r, z) plane only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EDGE = 0.1  # width of the fall-off at the border of the field (m)
R_MIN = 0.3


def _fall(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 + exp(-distance / edge): 1 deep inside a border, very large outside."""
    return 1.0 + np.exp(np.minimum(distance * (-1.0 / EDGE), 50.0))


def toroid_field(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], ripple: float = 0.10
) -> NDArray[np.float64]:
    """Azimuthal field of the barrel and endcap toroids.

    B = 3.7/r (1 + ripple cos(8 (phi - pi/8))) b + 2.0/r e, with the endcap weight e (0.85 < r < 5.35, 7.9 <
    |z| < 12.9) and the barrel weight b (4.7 < r < 10.05, |z| < 12.65, reduced by 1 - e), all borders smooth
    over 0.1 m.

    Args:
        x: Position (m), any shape.
        y: Position (m), same shape.
        z: Position along the beam (m), same shape.
        ripple: Relative modulation of the barrel field in azimuth.

    Returns:
        Field (T), same shape.

    Example:
        >>> toroid_field(np.array([7.0, 3.0]), np.zeros(2), np.array([1.0, 10.0]), ripple=0.0).round(3)
        array([0.529, 0.667])
    """
    r = np.maximum(np.sqrt(x * x + y * y), R_MIN)
    height = np.abs(z)
    inverse_r = 1.0 / r
    endcap = 1.0 / (_fall(r - 0.85) * _fall(5.35 - r) * _fall(height - 7.9) * _fall(12.9 - height))
    barrel = (1.0 - endcap) / (_fall(r - 4.7) * _fall(10.05 - r) * _fall(12.65 - height))
    cosine, sine = x * inverse_r, y * inverse_r
    for _ in range(3):  # cos 2a, 4a, 8a
        cosine, sine = cosine * cosine - sine * sine, 2.0 * cosine * sine
    return inverse_r * (3.7 * (1.0 - ripple * cosine) * barrel + 2.0 * endcap)
