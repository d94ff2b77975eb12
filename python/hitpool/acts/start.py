"""Where ACTS's Kalman filter starts, and with which errors."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SIGMAS = [1.0, 1.0, math.radians(1), math.radians(1), 0.0, 1.0]  # d0, z0 (mm), phi, theta, q/p, time
SIGMA_QPT, SIGMA_PT = 0.1, 0.1  # 1/GeV and relative, of q/p


def covariance(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """The errors of the start as a covariance.

    Args:
        parameters: d0, z0 (mm), phi, theta, q/p (1/GeV) at the beam line, [T, 5].

    Returns:
        [T, 5, 5].
    """
    theta, qop = parameters[:, 3], parameters[:, 4]
    of_angle = math.radians(1) * qop / np.tan(theta)  # of q/p with a pT that is known
    sigma_qop = np.sqrt((SIGMA_QPT * np.sin(theta)) ** 2 + (SIGMA_PT * qop) ** 2 + of_angle**2)
    sigmas = np.stack([*np.broadcast_to(SIGMAS[:4], (len(parameters), 4)).T, sigma_qop])  # [5, T]
    return np.asarray(sigmas.T[:, None] ** 2 * np.eye(5))
