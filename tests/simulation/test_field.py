import math

import numpy as np
import pytest

from hitpool.simulation import toroid_field


def plain_field(x, y, z, ripple=0.1):
    """The formula of the field, point by point."""
    r, phi = max(math.hypot(x, y), 0.3), math.atan2(y, x)

    def step(u):
        return 1 / (1 + math.exp(-max(min(u / 0.1, 50), -50)))

    e = step(r - 0.85) * step(5.35 - r) * step(abs(z) - 7.9) * step(12.9 - abs(z))
    b = step(r - 4.7) * step(10.05 - r) * step(12.65 - abs(z)) * (1 - e)
    return 3.7 / r * (1 + ripple * math.cos(8 * (phi - math.pi / 8))) * b + 2.0 / r * e


def test_field_is_the_formula():
    rng = np.random.default_rng(5)
    points = rng.uniform([-12, -12, -23], [12, 12, 23], (4000, 3))
    points = np.vstack([points, [[0, 0, 0], [0, 0, 10], [0.1, 0, 10], [5, 0, 0], [0, 5.35, 12.9]]])
    expected = [plain_field(*p) for p in points]
    np.testing.assert_allclose(toroid_field(*points.T), expected, rtol=1e-10, atol=1e-14)


def test_field_is_finite_and_zero_far_outside():
    far = np.array([-1e4, 0.0, 1e4])
    with np.errstate(all="raise", under="ignore"):
        assert np.all(np.abs(toroid_field(far, np.zeros(3), np.full(3, 1e4))) < 1e-15)


@pytest.mark.parametrize(
    ("eta", "power"),
    [(0, 2.6), (0.5, 2.9), (1.0, 3.9), (1.3, 2.8), (1.5, 2.6), (1.7, 2.8), (2.0, 3.7), (2.4, 5.5), (2.7, 7.2)],
)
def test_bending_power(eta, power):
    s = np.arange(0, 27, 0.01)
    dip = math.atan(math.sinh(eta))
    r, z = s * math.cos(dip), s * math.sin(dip)
    assert toroid_field(r, 0 * r, z).sum() * 0.01 == pytest.approx(power, abs=0.08)
    np.testing.assert_array_equal(toroid_field(r, 0 * r, z), toroid_field(r, 0 * r, -z))
