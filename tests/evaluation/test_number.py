import math

import numpy as np
import pytest

from hitpool.evaluation.number import Number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number.symmetric(0.0025094, 0.0000482), "0.002509 ± 0.000048"),
        (Number.symmetric(521.3, 20.4), "521 ± 20"),
        (Number.symmetric(1.0, 0.0), "1.0000 ± 0.0000"),
        (Number.symmetric(0.5, math.nan), "0.5000"),
        (Number.symmetric(math.nan, math.nan), "undefined"),
        (Number(0.0, 0.0, 0.0362), "0.000 +0.036 -0.000"),
        (Number(1.0, 0.9638, 1.0), "1.000 +0.000 -0.036"),
        (Number(0.98, 0.9599, 0.9926), "0.980 +0.013 -0.020"),
        (Number(0.5, 0.4299, 0.5701), "0.500 ± 0.070"),
        (Number(1 - 1e-16, 0.9638, 1 - 2e-16), "1.000 +0.000 -0.036"),
    ],
)
def test_numbers_show_two_digits_of_the_error(number: Number, text: str) -> None:
    assert str(number) == text


def test_half_the_width_of_the_interval_is_the_error() -> None:
    assert Number(0.0, 0.0, 0.036).error == 0.018
    assert np.isnan(Number.symmetric(0.5, math.nan).error)
