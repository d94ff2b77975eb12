"""The encoding of hits by hypotheses against points on exact helices."""

import math

import numpy as np
import pytest
import torch

from hitpool.nn import HelixPositionEncoder, InputNet

FIELD = 2.0


def helix(phi0: float, qpt: float, z0: float, cot: float, path: np.ndarray) -> dict[str, torch.Tensor]:
    """Points of a helix from the beam line at distances along its projection, by integration of its direction."""
    curvature = -0.299792458 * FIELD * qpt  # 1/m: a positive particle turns clockwise in a field along z
    x = (np.sin(phi0 + curvature * path) - np.sin(phi0)) / curvature
    y = (np.cos(phi0) - np.cos(phi0 + curvature * path)) / curvature
    phi, z = np.arctan2(y, x), z0 + cot * path
    values = {"r": np.hypot(x, y), "z": z, "cos_phi": np.cos(phi), "sin_phi": np.sin(phi)}
    return {f"hit_{name}": torch.from_numpy(value).float().unsqueeze(0) for name, value in values.items()}


@pytest.mark.parametrize("qpt", [-2.0, -0.7, 0.3, 1.5])
def test_hits_of_a_track_from_the_beam_line_agree_under_its_hypothesis(qpt: float) -> None:
    torch.manual_seed(3)
    hits = helix(0.7, qpt, 0.0, 0.0, np.linspace(0.03, 1.0, 12))
    encoder = HelixPositionEncoder("hit", 8, FIELD, qpt=[qpt], z0=[0.0])
    encoding = encoder(hits)[0]
    torch.testing.assert_close(encoding, encoding[:1].expand_as(encoding), atol=2e-4, rtol=0)
    other = HelixPositionEncoder("hit", 8, FIELD, qpt=[-qpt], z0=[0.0])
    other.load_state_dict(encoder.state_dict())
    assert (other(hits)[0, 0] - other(hits)[0, -1]).abs().max() > 0.1


def test_hits_of_a_straight_track_agree_under_its_origin() -> None:
    torch.manual_seed(3)
    hits = helix(0.7, 1e-6, 0.05, 1.3, np.linspace(0.03, 1.0, 12))
    encoding = HelixPositionEncoder("hit", 8, FIELD, qpt=[0.0], z0=[0.05])(hits)[0]
    torch.testing.assert_close(encoding, encoding[:1].expand_as(encoding), atol=2e-4, rtol=0)


def test_equals_the_formula() -> None:
    torch.manual_seed(3)
    encoder = HelixPositionEncoder("hit", 5, FIELD, [-1.0, 0.5], [0.0, 0.1], [1, 7], [0.5]).double()
    r, z, phi = torch.rand(2, 9).double(), torch.randn(2, 9).double(), torch.randn(2, 9).double()
    hits = {"hit_r": r, "hit_z": z, "hit_cos_phi": phi.cos(), "hit_sin_phi": phi.sin()}
    phases = [(phi + torch.asin(0.299792458 * k * r)) * f for k in (-1.0, 0.5) for f in (1, 7)]
    phases += [torch.asinh((z - float(np.float32(z0))) / r) * 0.5 for z0 in (0.0, 0.1)]
    phase = torch.stack(phases, dim=-1)
    expected = encoder.linear(torch.cat([phase.sin(), phase.cos()], dim=-1))
    torch.testing.assert_close(encoder(hits), expected, atol=1e-6, rtol=0)


def test_hits_that_no_hypothesis_reaches_and_padding_are_finite() -> None:
    torch.manual_seed(3)
    encoder = HelixPositionEncoder("hit", 4, FIELD, qpt=[-100.0, 100.0], z0=[0.0])
    net = InputNet("hit", ["r"], torch.nn.Linear(1, 4), encoder)
    hits = {f"hit_{name}": torch.tensor([[0.0, 50.0, math.nan]]) for name in ("r", "z", "cos_phi", "sin_phi")}
    out = net(hits | {"hit_valid": torch.tensor([[True, True, False]])})
    assert out.isfinite().all()


@pytest.mark.parametrize("name", ["qpt", "z0", "phi_frequencies", "eta_frequencies"])
def test_no_hypothesis(name: str) -> None:
    with pytest.raises(ValueError, match=f"HelixPositionEncoder: {name} must have at least one value"):
        HelixPositionEncoder("hit", 4, FIELD, **({"qpt": [0.0], "z0": [0.0]} | {name: []}))
