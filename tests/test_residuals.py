import math

import numpy as np
import pytest
from scipy import stats

from hitpool import residuals


def test_residual_is_predicted_minus_true() -> None:
    np.testing.assert_allclose(residuals.residual([1.0, 2.0], [3.0, -1.0]), [-2.0, 3.0])


def test_relative_residual_divides_by_the_true_value() -> None:
    np.testing.assert_allclose(residuals.relative_residual([15.0, 90.0], [10.0, 100.0]), [0.5, -0.1])


def test_relative_residual_refuses_a_true_value_of_zero() -> None:
    with pytest.raises(ValueError, match="must not be 0, got 1 zeros"):
        residuals.relative_residual([1.0, 1.0], [0.0, 2.0])


@pytest.mark.parametrize("function", [residuals.residual, residuals.relative_residual, residuals.periodic_residual])
def test_shapes_must_agree(function) -> None:
    with pytest.raises(ValueError, match=r"got \(2,\) and \(1,\)"):
        function([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        (0.2, 0.1, 0.1),
        (math.pi - 0.01, -math.pi + 0.01, -0.02),
        (-math.pi + 0.01, math.pi - 0.01, 0.02),
        (math.pi, 0.0, -math.pi),
        (-math.pi, 0.0, -math.pi),
        (7 * math.pi + 0.3, math.pi, 0.3),
    ],
)
def test_phi_is_wrapped(predicted: float, true: float, expected: float) -> None:
    assert residuals.periodic_residual([predicted], [true])[0] == pytest.approx(expected, abs=1e-12)


def test_phi_agrees_with_the_angle_of_the_rotation() -> None:
    predicted, true = np.random.default_rng(0).uniform(-10, 10, (2, 10_000))
    expected = np.angle(np.exp(1j * (predicted - true)))
    np.testing.assert_allclose(residuals.periodic_residual(predicted, true), expected, atol=1e-12)


def test_sigma68_of_a_normal_distribution_is_its_sigma() -> None:
    values = stats.norm(loc=3.0, scale=0.25).ppf((np.arange(200_000) + 0.5) / 200_000)
    assert residuals.sigma68(values) == pytest.approx(0.25, rel=1e-4)


def test_sigma68_ignores_tails_and_rms_does_not() -> None:
    values = np.concatenate([np.linspace(-1, 1, 10_001), np.full(10, 1e6)])
    assert residuals.sigma68(values) == pytest.approx(0.6827, rel=2e-3)
    assert residuals.rms(values) > 1e4


def test_hand_computed_summaries() -> None:
    values = [1.0, -1.0, 2.0, 6.0]
    assert residuals.mean(values) == 2.0
    assert residuals.median(values) == 1.5
    assert residuals.rms(values) == pytest.approx(math.sqrt(42 / 4))
    assert residuals.sigma68([0.0, 1.0]) == pytest.approx(0.6827 / 2)


@pytest.mark.parametrize("function", [residuals.mean, residuals.median, residuals.rms, residuals.sigma68])
def test_without_entries_a_summary_is_undefined(function) -> None:
    assert math.isnan(function([]))


def test_one_entry() -> None:
    assert (residuals.mean([3.0]), residuals.median([3.0]), residuals.rms([-3.0])) == (3.0, 3.0, 3.0)
    assert residuals.sigma68([3.0]) == 0.0


@pytest.mark.parametrize("function", [residuals.mean, residuals.median, residuals.rms, residuals.sigma68])
def test_nan_is_not_hidden(function) -> None:
    assert math.isnan(function([1.0, np.nan, 2.0]))


@pytest.mark.parametrize("function", [residuals.mean, residuals.median, residuals.rms, residuals.sigma68])
def test_a_summary_along_an_axis_is_that_of_each_row(function) -> None:
    values = np.random.default_rng(1).normal(size=(3, 50))
    np.testing.assert_array_equal(function(values, axis=-1), [function(row) for row in values])
    np.testing.assert_array_equal(function(values[:, :0], axis=-1), [np.nan] * 3)


def test_a_charge_of_0_or_nan_is_wrong() -> None:
    charges = [0.1, -3.0, 0.5, -0.5, 0.0, np.nan, np.nan]
    true = [1, -1, -1, 1, 1, 1, -1]
    np.testing.assert_array_equal(residuals.right_charge(charges, true), [True, True] + 5 * [False])
