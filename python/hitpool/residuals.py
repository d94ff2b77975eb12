"""Residuals of track parameters and the numbers that summarise them: arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

CENTRAL_FRACTION = 0.6827
"""Probability within one standard deviation of a normal distribution."""


def residual(predicted: ArrayLike, true: ArrayLike) -> NDArray[np.float64]:
    """Difference predicted - true.

    Args:
        predicted: Predicted values, any shape and unit.
        true: True values, same shape and unit.

    Returns:
        Float64 array of the same shape and unit.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> residual([1.0, 2.0], [0.5, 3.0])
        array([ 0.5, -1. ])
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if predicted.shape != true.shape:
        raise ValueError(f"residual: predicted and true need equal shapes, got {predicted.shape} and {true.shape}")
    difference: NDArray[np.float64] = predicted - true
    return difference


def periodic_residual(predicted: ArrayLike, true: ArrayLike) -> NDArray[np.float64]:
    """Difference of two angles, wrapped to [-pi, pi).

    Args:
        predicted: Predicted angles in rad, any shape.
        true: True angles in rad, same shape.

    Returns:
        Float64 array of the same shape, rad.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> periodic_residual([3.1, -3.1], [-3.1, 3.1]).round(4)
        array([-0.0832,  0.0832])
    """
    return np.mod(residual(predicted, true) + np.pi, 2 * np.pi) - np.pi


def relative_residual(predicted: ArrayLike, true: ArrayLike) -> NDArray[np.float64]:
    """Difference divided by the true value, (predicted - true) / true.

    Args:
        predicted: Predicted values, any shape and unit.
        true: True values, same shape and unit; not 0.

    Returns:
        Float64 array of the same shape, without unit.

    Raises:
        ValueError: If the shapes differ or a true value is 0.

    Example:
        >>> relative_residual([11.0, 45.0], [10.0, 50.0])
        array([ 0.1, -0.1])
    """
    difference = residual(predicted, true)
    true = np.asarray(true, np.float64)
    if np.any(true == 0):
        raise ValueError(f"relative_residual: true values must not be 0, got {np.count_nonzero(true == 0)} zeros")
    relative: NDArray[np.float64] = difference / true
    return relative


def right_charge(predicted: ArrayLike, true: ArrayLike) -> NDArray[np.bool_]:
    """Whether predicted charges have the sign of the true ones; 0 and NaN are wrong.

    Args:
        predicted: Predicted charges, or any number with their sign, any shape.
        true: True charges, same shape.

    Example:
        >>> right_charge([0.3, -2.0, 0.1, 0.0], [1, -1, -1, 1])
        array([ True,  True, False, False])
    """
    return np.asarray(predicted, np.float64) * np.asarray(true, np.float64) > 0


def mean(values: ArrayLike, axis: int | None = None) -> float | NDArray[np.float64]:
    """Arithmetic mean.

    Args:
        values: Residuals, any shape.
        axis: Dimension of the entries; None for all of them together.

    Returns:
        The mean, unit of the residuals; an array over the other dimensions if `axis` is given. NaN without entries.

    Example:
        >>> mean([1.0, 2.0, 6.0])
        3.0
    """
    return _summary(np.mean, values, axis)


def median(values: ArrayLike, axis: int | None = None) -> float | NDArray[np.float64]:
    """Median.

    Args:
        values: Residuals, any shape.
        axis: As in `mean`.

    Returns:
        The median, as `mean`.

    Example:
        >>> median([1.0, 2.0, 6.0])
        2.0
    """
    return _summary(np.median, values, axis)


def rms(values: ArrayLike, axis: int | None = None) -> float | NDArray[np.float64]:
    """Root of the mean square about 0, sqrt(mean(r^2)).

    Args:
        values: Residuals, any shape.
        axis: As in `mean`.

    Returns:
        The root mean square, as `mean`.

    Example:
        >>> rms([3.0, -4.0, 0.0, 0.0])
        2.5
    """
    return _summary(lambda entries, axis: np.sqrt(np.mean(entries**2, axis=axis)), values, axis)


def sigma68(values: ArrayLike, axis: int | None = None) -> float | NDArray[np.float64]:
    """Half the width of the interval that holds the central 68.27 % of the entries.

    (q(0.84135) - q(0.15865)) / 2 with linearly interpolated quantiles q. It equals the standard deviation of
    a normal distribution, ignores tails, and says nothing about a common shift: look at the median for that.

    Args:
        values: Residuals, any shape.
        axis: As in `mean`.

    Returns:
        The half width, as `mean`; NaN if one of the entries is NaN.

    Example:
        >>> round(sigma68(np.linspace(-1.0, 1.0, 101)), 6)
        0.6827
    """

    def half_width(entries: NDArray[np.float64], axis: int | None) -> NDArray[np.float64]:
        low, high = np.quantile(entries, [(1 - CENTRAL_FRACTION) / 2, (1 + CENTRAL_FRACTION) / 2], axis=axis)
        width: NDArray[np.float64] = high - low
        return width / 2

    return _summary(half_width, values, axis)


def _summary(
    function: Callable[[NDArray[np.float64], int | None], NDArray[np.float64]], values: ArrayLike, axis: int | None
) -> float | NDArray[np.float64]:
    values = np.asarray(values, np.float64)
    if values.size:
        summary = function(values, axis)
    else:
        summary = np.full(() if axis is None else np.delete(values.shape, axis), np.nan)
    return float(summary) if axis is None else summary
