"""A number with its error, as it is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A value and its 68.27 % interval; as text it has two digits of the smaller error.

    Args:
        value: NaN if it is undefined.
        low: Lower limit; NaN if it is undefined.
        high: Upper limit; NaN if it is undefined.

    Example:
        >>> str(Number.symmetric(0.0025094, 0.0000482)), str(Number(0.0, 0.0, 0.0362))
        ('0.002509 ± 0.000048', '0.000 +0.036 -0.000')
    """

    value: float
    low: float
    high: float

    @classmethod
    def symmetric(cls, value: float, error: float) -> Number:
        """A value with a standard error."""
        return cls(value, value - error, value + error)

    @property
    def error(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        if math.isnan(self.error):
            return f"{self.value:.4f}"
        errors = self.high - self.value, self.value - self.low
        smallest = min((error for error in errors if error > 0), default=0.0)
        digits = max(0, 1 - math.floor(math.log10(smallest))) if smallest else 4
        above, below = (f"{max(error, 0.0):.{digits}f}" for error in errors)
        return f"{self.value:.{digits}f} " + (f"± {above}" if above == below else f"+{above} -{below}")
