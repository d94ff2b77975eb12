import math

import pytest

from hitpool.evaluation.number import Number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(0.0025094, 0.0000482), "0.002509 ± 0.000048"),
        (Number(521.3, 20.4), "521 ± 20"),
        (Number(1.0, 0.0), "1.0000 ± 0.0000"),
        (Number(0.5, math.nan), "0.5000"),
        (Number(math.nan, math.nan), "undefined"),
    ],
)
def test_numbers_show_two_digits_of_the_error(number: Number, text: str) -> None:
    assert str(number) == text
