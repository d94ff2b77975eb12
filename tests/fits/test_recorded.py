"""The fits as standard operators of ONNX, against the fits."""

import pytest
import torch
from torch import Tensor, nn

from hitpool.export.recording import EVENTS, HITS
from hitpool.fits import BoxToroid, Geometry, HelixFit, LearnedField, SolenoidFit, ToroidFit

from .solenoid_tracks import FIELD, simulate


class Results(nn.Module):
    """What a fit gives, in the order of `gives`."""

    def __init__(self, fit: nn.Module) -> None:
        super().__init__()
        self.fit = fit.eval().requires_grad_(False)

    def forward(self, hits: Tensor, logits: Tensor, valid: Tensor) -> tuple[Tensor, ...]:
        results = self.fit(hits, logits, valid)
        return tuple(results[name] for name in self.fit.gives)


def differences(run, fit: nn.Module, given: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """By result the relative differences between ONNX and PyTorch."""
    with torch.no_grad():
        expected = Results(fit)(*given)
    results = {}
    for name, got, value in zip(fit.gives, run(*given), expected, strict=True):
        assert got.dtype == value.dtype
        assert got.shape == value.shape
        assert torch.equal(got.isnan(), value.isnan())
        results[name] = ((got.double() - value.double()).abs() / (1e-3 + value.double().abs())).flatten()
    return results


@pytest.fixture(scope="module")
def toroid(muons) -> tuple[Tensor, ...]:
    hits = torch.where(muons.valid.unsqueeze(-1), muons.hits, torch.nan)
    noise = torch.rand(muons.logits.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return hits, torch.where(muons.logits > 0, 1 + 3 * noise, noise - 6), muons.valid


def beginning(given: tuple[Tensor, ...], events: int, hits: int) -> tuple[Tensor, ...]:
    """The first hits of the first events."""
    hits_given, logits, valid = given
    return hits_given[:events, :hits], logits[:events, :, :hits], valid[:events, :hits]


@pytest.mark.parametrize("kind", ["box", "table"])
def test_the_toroid_fit(as_onnx, toroid, kind: str) -> None:
    """Of 200 events with true hits; few tracks are so near to a decision that the last bits count."""
    field = BoxToroid(barrel=3.1) if kind == "box" else LearnedField()
    if kind == "table":
        field.log_factors.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    fit = ToroidFit(max_hits=40, field=field, geometry=Geometry(energy_loss=3.1))
    run = as_onnx(Results(fit), beginning(toroid, 3, 7), {3: EVENTS, 7: HITS})
    for name, found in differences(run, fit, toroid).items():
        assert found.quantile(0.98) < 1e-6, name
    for events, hits in ((1, 1), (2, 0), (0, 5)):
        for name, found in differences(run, fit, beginning(toroid, events, hits)).items():
            assert (found < 1e-7).all(), name


def test_the_solenoid_fit(as_onnx, monkeypatch) -> None:
    """Against its form in PyTorch: the op leaves out hits to which that gives a weight of 1e-9."""
    monkeypatch.setattr(SolenoidFit, "_is_for_op", lambda *_: False)
    hits = simulate(200).hits
    valid = torch.rand(hits.shape[:2], generator=torch.Generator().manual_seed(1)) < 0.9
    logits = 1 + 4 * torch.rand(200, 2, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    given = torch.where(valid.unsqueeze(-1), hits, torch.nan), logits, valid
    fit = SolenoidFit(field=FIELD)
    run = as_onnx(Results(fit), beginning(given, 3, 7), {3: EVENTS, 7: HITS})
    for name, found in differences(run, fit, given).items():
        assert found.quantile(0.99) < 1e-7, name
    for events, count in ((1, 5), (2, 0), (0, 5)):
        for name, found in differences(run, fit, beginning(given, events, count)).items():
            assert (found < 1e-4).all(), name  # of a matrix that the priors make regular


def test_the_helix_fit(as_onnx) -> None:
    torch.manual_seed(4)
    fit = HelixFit(hit_fields=["z", "layer"], field=2.0)
    phi, slope = torch.randn(2, 50, 2, 1)
    r = torch.linspace(0.03, 1.0, 12)
    x, y, z = (value.flatten(1) for value in (r * phi.cos() - r**2 / 30, r * phi.sin(), r * slope))
    hits = torch.stack([x, y, z, z, torch.ones_like(z)], dim=-1)  # [B, M, 5], two tracks
    valid = torch.rand(hits.shape[:2]) < 0.9
    own = torch.arange(24).unsqueeze(0) // 12 == torch.arange(2).unsqueeze(1)
    logits = torch.where(own, 3.0, -6.0).expand(50, -1, -1).contiguous()
    given = torch.where(valid.unsqueeze(-1), hits, torch.nan), logits, valid
    run = as_onnx(Results(fit), beginning(given, 3, 7), {3: EVENTS, 7: HITS})
    for some in (given, *(beginning(given, *sizes) for sizes in ((1, 1), (2, 0), (0, 5)))):
        for name, found in differences(run, fit, some).items():
            assert (found < 1e-4).all(), name
