"""First hits against a loop over tracks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitpool.fits import FirstHit


def first_hits(points: np.ndarray, probability: np.ndarray, valid: np.ndarray, threshold: float) -> np.ndarray:
    """Directions eta and phi [B, N, 2] of the nearest hit of each track, one by one."""
    result = np.zeros((*probability.shape[:2], 2))
    for event, track in np.ndindex(probability.shape[:2]):
        hits = [m for m in range(points.shape[1]) if valid[event, m] and probability[event, track, m] >= threshold]
        if hits:
            x, y, z = min(points[event, hits], key=lambda point: math.hypot(point[0], point[1]))
            theta = math.atan2(math.hypot(x, y), z)
            result[event, track] = -math.log(math.tan(theta / 2)), math.atan2(y, x)
    return result


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(0, 4), st.integers(0, 30), st.floats(0.01, 0.99), st.integers(0, 2**16))
def test_is_the_direction_of_the_nearest_assigned_hit(
    events: int, tracks: int, hits: int, threshold: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    points = random.normal(size=(events, hits, 3))
    logits = random.normal(scale=3, size=(events, tracks, hits))
    valid = random.random((events, hits)) < 0.8
    fields = torch.from_numpy(np.where(valid[..., None], points, np.nan))
    found = FirstHit()(fields, torch.from_numpy(logits), torch.from_numpy(valid), threshold)
    expected = first_hits(points, 1 / (1 + np.exp(-logits)), valid, threshold)
    for k, name in enumerate(FirstHit.gives):
        np.testing.assert_allclose(found[name].numpy(), expected[..., k], atol=1e-12)


def test_is_the_direction_of_a_straight_track_from_the_origin() -> None:
    direction = torch.tensor([0.3, -0.4, 2.0])
    hits = (torch.linspace(1, 20, 12).unsqueeze(-1) * direction)[torch.randperm(12)].unsqueeze(0)
    found = FirstHit()(hits, torch.full((1, 1, 12), 5.0))
    assert found["eta"].item() == pytest.approx(math.asinh(2.0 / 0.5), rel=1e-6)
    assert found["phi"].item() == pytest.approx(math.atan2(-0.4, 0.3), rel=1e-6)


def test_wrong_points_are_named() -> None:
    with pytest.raises(ValueError, match=r"points must be the fields of x, y and z, got \('x', 'y'\)"):
        FirstHit(points=("x", "y"))
    with pytest.raises(ValueError, match=r"FirstHit: expected hits .* got \[1, 4, 2\]"):
        FirstHit()(torch.zeros(1, 4, 2), torch.zeros(1, 1, 4))
