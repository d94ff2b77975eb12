"""A number with its error, as it is shown."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A value and its standard error; as text it has two digits of the error.

    Args:
        value: NaN if it is undefined.
        error: NaN if it is undefined.

    Example:
        >>> str(Number(0.0025094, 0.0000482))
        '0.002509 ± 0.000048'
    """

    value: float
    error: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        if math.isnan(self.error):
            return f"{self.value:.4f}"
        digits = 4 if self.error <= 0 else max(0, 1 - math.floor(math.log10(self.error)))
        return f"{self.value:.{digits}f} ± {self.error:.{digits}f}"
