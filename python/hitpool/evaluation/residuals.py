"""Residuals of track parameters and the numbers that summarise them: arrays in, numbers out."""

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
    return predicted - true


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
    return difference / true


def mean(values: ArrayLike) -> float:
    """Arithmetic mean; NaN without entries.

    Args:
        values: Residuals, any shape.

    Returns:
        The mean, unit of the residuals.

    Example:
        >>> mean([1.0, 2.0, 6.0])
        3.0
    """
    values = np.asarray(values, np.float64)
    return float(values.mean()) if values.size else float("nan")


def median(values: ArrayLike) -> float:
    """Median; NaN without entries.

    Args:
        values: Residuals, any shape.

    Returns:
        The median, unit of the residuals.

    Example:
        >>> median([1.0, 2.0, 6.0])
        2.0
    """
    values = np.asarray(values, np.float64)
    return float(np.median(values)) if values.size else float("nan")


def rms(values: ArrayLike) -> float:
    """Root of the mean square about 0, sqrt(mean(r^2)); NaN without entries.

    Args:
        values: Residuals, any shape.

    Returns:
        The root mean square, unit of the residuals.

    Example:
        >>> rms([3.0, -4.0, 0.0, 0.0])
        2.5
    """
    values = np.asarray(values, np.float64)
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")


def sigma68(values: ArrayLike, axis: int | None = None) -> float | NDArray[np.float64]:
    """Half the width of the interval that holds the central 68.27 % of the entries.

    (q(0.84135) - q(0.15865)) / 2 with linearly interpolated quantiles q. It equals the standard deviation of
    a normal distribution, ignores tails, and says nothing about a common shift: look at the median for that.

    Args:
        values: Residuals, any shape.
        axis: Dimension of the entries; None for all of them together.

    Returns:
        The half width, unit of the residuals; an array over the other dimensions if `axis` is given. NaN without
        entries or if one of them is NaN.

    Example:
        >>> round(sigma68(np.linspace(-1.0, 1.0, 101)), 6)
        0.6827
    """
    values = np.asarray(values, np.float64)
    if not values.size:
        return float("nan") if axis is None else np.full(np.delete(values.shape, axis), np.nan)
    low, high = np.quantile(values, [(1 - CENTRAL_FRACTION) / 2, (1 + CENTRAL_FRACTION) / 2], axis=axis)
    return float(high - low) / 2 if axis is None else (high - low) / 2
