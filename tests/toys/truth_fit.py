"""The physical limit of a toy detector: a least-squares fit of the true hits of each track."""

from collections.abc import Callable

import numpy as np

STEP = 1e-6  # of the derivatives


def fit(
    propagate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    parameters: np.ndarray,
    prior: np.ndarray,
    measured: np.ndarray,
    axes: np.ndarray,
    sigma: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Fits all tracks, linear about the truth: unbiased, with the smallest errors that any fit can have.

    Args:
        propagate: From parameters [T, P] and kinks [T, K] to the points of the track on the layers [T, L, 3].
        parameters: The true ones [T, P].
        prior: What is known before of parameters and kinks, which scatter about 0 by this [T, P + K]; Inf: nothing.
        measured: Measured points [T, L, 3].
        axes: Directions of both measured coordinates [T, L, 2, 3].
        sigma: Their resolution [T, L, 2]; Inf: no hit.

    Returns:
        Estimated parameters [T, P] and their errors [T, P].
    """
    count, size = parameters.shape
    values = np.concatenate([parameters, np.zeros((count, prior.shape[1] - size))], axis=1)

    def coordinates(values: np.ndarray) -> np.ndarray:
        points = propagate(values[:, :size], values[:, size:])
        return (np.einsum("tlx,tlax->tla", points, axes) / sigma).reshape(count, -1)

    columns = []
    for step in STEP * np.eye(values.shape[1]):
        columns.append((coordinates(values + step) - coordinates(values - step)) / (2 * STEP))
    jacobian = np.stack(columns, axis=-1)  # [T, 2 L, P + K]
    difference = (np.einsum("tlx,tlax->tla", measured, axes) / sigma).reshape(count, -1) - coordinates(values)
    information = jacobian.swapaxes(1, 2) @ jacobian + np.eye(values.shape[1]) * prior[:, None] ** -2.0
    gradient = (jacobian * difference[..., None]).sum(1) - values * prior**-2.0
    covariance = np.linalg.inv(information)
    estimate = values + (covariance @ gradient[..., None])[..., 0]
    return estimate[:, :size], np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))[:, :size]
