"""References of momentum directions and impact parameters, whatever the model's parameters are."""

import numpy as np
import pytest

from hitpool.evaluation.quantities import resolution_of
from hitpool.evaluation.reference import reference_estimate
from hitpool.evaluation.tracks import Tracks


@pytest.fixture
def true() -> dict[str, np.ndarray]:
    """Truth of 5 x 2 particles, with the impact parameters by the names of their fields."""
    random = np.random.default_rng(0)
    eta, qpt, d0 = random.normal(size=(3, 5, 2))
    theta = 2 * np.arctan(np.exp(-eta))
    return {"theta": theta, "qop": qpt * np.sin(theta), "truth_d0": d0, "q": np.sign(qpt)}


def make_tracks(true: dict[str, np.ndarray]) -> Tracks:
    resolutions = {"truth_d0": resolution_of("truth_d0", "mm")}
    return Tracks(np.arange(5), np.ones((5, 2), bool), true, {}, resolutions=resolutions)


def test_direction_and_momentum_follow_from_eta_and_q_over_pt(true: dict[str, np.ndarray]) -> None:
    eta = -np.log(np.tan(true["theta"] / 2))
    values = {"eta": eta, "qpt": true["qop"] / np.sin(true["theta"]), "d0": true["truth_d0"]}
    errors = {"eta": np.full((5, 2), 0.01), "d0": np.full((5, 2), 0.2), "qpt": np.full((5, 2), 0.3)}
    estimate = reference_estimate(values, errors, make_tracks(true))
    for quantity, expected in true.items():
        np.testing.assert_allclose(estimate.values[quantity], expected, rtol=1e-12)
    assert estimate.valid.all()
    assert set(estimate.errors) == {"theta", "truth_d0"}  # of q / p it would need a correlation
    step = (2 * np.arctan(np.exp(-(eta + 1e-6))) - true["theta"]) / 1e-6
    np.testing.assert_allclose(estimate.errors["theta"], 0.01 * np.abs(step), rtol=1e-4)
    np.testing.assert_array_equal(estimate.errors["truth_d0"], 0.2)


def test_what_is_missing_leaves_a_track_out(true: dict[str, np.ndarray]) -> None:
    eta = -np.log(np.tan(true["theta"] / 2))
    eta[3, 1] = np.nan
    estimate = reference_estimate({"eta": eta}, {}, make_tracks(true))
    assert not estimate.valid[3, 1]
    assert estimate.valid.sum() == 9
    assert "qop" not in estimate.values


def test_a_data_set_may_have_more_slots_than_are_compared(true: dict[str, np.ndarray]) -> None:
    wide = np.pad(-np.log(np.tan(true["theta"] / 2)), ((0, 0), (0, 3)), constant_values=np.nan)
    estimate = reference_estimate({"eta": wide}, {"eta": np.full((5, 5), 0.01)}, make_tracks(true))
    assert estimate.valid.shape == (5, 2)
    assert estimate.valid.all()
    assert estimate.errors["theta"].shape == (5, 2)
