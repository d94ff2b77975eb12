"""The toroid fit against truth, symmetries of the detector, finite differences and its compiled forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hitpool.fits import BoxToroid, Geometry, ToroidFit
from hitpool.fits.toroid import HIT_QUANTITIES

from .conftest import TrueField

NUMBERS = ("qpt", "eta", "phi", "kappa", "kappa_error", "eta_error", "direction", "num_hits", "chi2", "log_likelihood")
ANGLES = ("phi", "direction")


def sigma68(values):
    low, high = np.quantile(values, [0.158655, 0.841345])
    return (high - low) / 2


def wrapped(angle):
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def agreeing(found, expected):
    """Share of the tracks whose numbers are the same up to rounding."""
    return torch.isclose(found, expected, atol=1e-7, rtol=1e-5).double().mean()


def residuals(estimate, muons):
    """Relative q / pT, eta and phi of the tracks that there are."""
    true = {name: value[muons.there] for name, value in muons.truth.items()}
    found = {name: estimate[name][muons.there] for name in true}
    return (
        (found["qpt"] / true["qpt"] - 1).numpy(),
        (found["eta"] - true["eta"]).numpy(),
        wrapped(found["phi"] - true["phi"]).numpy(),
    )


def test_true_hits_and_field_give_the_resolution_of_the_detector(muons):
    """The Cramer-Rao bound has medians of 0.021, 0.0056 and 0.0030 (simulation, section 8)."""
    estimate = ToroidFit(field=TrueField())(muons.hits, muons.logits, muons.valid)
    qpt, eta, phi = residuals(estimate, muons)
    assert sigma68(qpt) < 0.028
    assert (abs(qpt) > 0.2).mean() < 0.02
    assert sigma68(eta) < 0.0075
    assert sigma68(phi) < 0.0060
    assert abs(np.median(qpt)) < 0.006


def test_a_crude_field_finds_the_charge_and_a_biased_momentum(muons):
    qpt, eta, _ = residuals(ToroidFit()(muons.hits, muons.logits, muons.valid), muons)
    assert (qpt > -1).mean() > 0.99
    assert 0.05 < sigma68(qpt) < 0.2
    assert sigma68(eta) < 0.0075


def test_foreign_hits_and_padding_have_no_influence(muons):
    fit = ToroidFit()
    expected = fit(muons.hits, muons.logits, muons.valid)
    order = torch.randperm(muons.hits.shape[1])
    junk = torch.full((200, 7, 10), torch.nan, dtype=torch.float64)
    hits = torch.cat([muons.hits[:, order], junk], dim=1)
    logits = torch.cat([muons.logits[..., order], torch.full((200, 2, 7), 9.0)], dim=-1)
    valid = torch.cat([muons.valid[:, order], torch.zeros(200, 7, dtype=torch.bool)], dim=-1)
    found = fit(hits, logits, valid)
    for name in NUMBERS:
        assert agreeing(found[name], expected[name]) > 0.98  # hits at equal places are taken in their order
    posterior = found["posterior"][..., :-7] - expected["posterior"][..., order]
    assert (posterior.abs() < 1e-6).double().mean() > 0.99
    assert (found["posterior"][..., -7:] == 0).all()


@pytest.mark.parametrize("turn", [math.pi / 4, 1.0])
def test_a_rotation_turns_the_azimuth_alone(muons, turn):
    """The crude field is the same all around, so any angle will do."""
    cos, sin = math.cos(turn), math.sin(turn)
    hits = muons.hits.clone()
    for x in (0, 3):
        hits[..., x] = cos * muons.hits[..., x] - sin * muons.hits[..., x + 1]
        hits[..., x + 1] = sin * muons.hits[..., x] + cos * muons.hits[..., x + 1]
    fit = ToroidFit()
    before, after = (fit(values, muons.logits, muons.valid) for values in (muons.hits, hits))
    for name in NUMBERS:
        change = after[name] - before[name]
        change = wrapped(change - turn) if name in ANGLES else change
        assert agreeing((before[name] + change)[muons.there], before[name][muons.there]) > 0.9


def test_the_mirror_image_has_the_other_charge(muons):
    hits = muons.hits.clone()
    hits[..., [2, 5]] *= -1
    fit = ToroidFit()
    before, after = (fit(values, muons.logits, muons.valid) for values in (muons.hits, hits))
    change = ((after["qpt"] + before["qpt"]) / before["qpt"])[muons.there].abs()
    assert (change < 5e-3).double().mean() > 0.95  # it starts from another dip angle
    assert ((after["eta"] + before["eta"])[muons.there].abs() < 5e-4).double().mean() > 0.97


def test_the_name_of_the_ends_of_a_wire_does_not_matter(muons):
    fit = ToroidFit()
    expected = fit(muons.hits, muons.logits, muons.valid)
    found = fit(muons.hits[..., [3, 4, 5, 0, 1, 2, 6, 7, 8, 9]], muons.logits, muons.valid)
    for name in NUMBERS:
        torch.testing.assert_close(found[name], expected[name], atol=1e-8, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2), st.integers(0, 3), st.integers(0, 70), st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 1.0])
)
def test_anything_gives_finite_results(events, tracks, hits, seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(events, hits, 10, generator=generator).double() * 5
    values[..., 6:9] = values[..., 6:9].abs() * 1e-3
    values[..., 9] = (values[..., 9] > 0).double()
    logits = torch.randn(events, tracks, hits, generator=generator) * 5
    valid = torch.rand(events, hits, generator=generator) < 0.8
    estimate = ToroidFit()(values, logits, valid, threshold)
    assert set(estimate) == set(ToroidFit.gives)
    for name, value in estimate.items():
        assert value.shape == ((events, tracks, hits) if name in HIT_QUANTITIES else (events, tracks))
        assert value.isfinite().all(), name


def test_the_hits_as_the_fit_saw_them(muons):
    """Own hits lie on the drift circle; another eight times as far from the track is said to be that far."""
    fit = ToroidFit(field=TrueField(), max_hits=200)
    found = fit(muons.hits, muons.logits, muons.valid)
    own = muons.logits > 0
    assert torch.equal(found["hit_taken"], own & muons.valid.unsqueeze(1))
    tube = own & (muons.hits[..., 9] == 0).unsqueeze(1)
    assert torch.equal(found["hit_tube"] > 0, tube)
    radius, variance = (muons.hits[..., k].unsqueeze(1).expand_as(own) for k in (6, 7))
    torch.testing.assert_close(found["hit_radius"][tube], radius[tube])
    torch.testing.assert_close(found["hit_error"][own].square(), variance[own].clamp(min=1e-12))
    beyond = (found["hit_distance"] - found["hit_radius"])[tube]
    assert sigma68(beyond) < 3e-4
    assert (beyond.abs() < 1e-3).double().mean() > 0.9
    for name in ("posterior", "hit_distance", "hit_radius", "hit_error"):
        assert (found[name][~own] == 0).all()


def test_without_hits_the_priors_speak():
    estimate = ToroidFit()(torch.zeros(2, 0, 10), torch.zeros(2, 3, 0))
    assert (estimate["kappa"] == 0).all()
    assert (estimate["qpt"] == 0).all()
    torch.testing.assert_close(estimate["kappa_error"], torch.full((2, 3), 0.3, dtype=torch.float64))
    assert (estimate["num_hits"] == 0).all()


@pytest.mark.parametrize("kind", ["strips", "tubes", "one station"])
def test_a_part_of_the_detector_is_enough_for_a_finite_result(muons, kind):
    tube = muons.hits[..., 9] == 0
    keep = {"strips": ~tube, "tubes": tube, "one station": muons.hits[..., :2].norm(dim=-1) < 6.0}[kind]
    estimate = ToroidFit()(muons.hits, muons.logits, muons.valid & keep)
    assert all(value.isfinite().all() for value in estimate.values())
    full = ToroidFit()(muons.hits, muons.logits, muons.valid)
    has = muons.there & (estimate["num_hits"] > 3)
    ratio = (estimate["kappa_error"] / full["kappa_error"])[has]
    assert ratio.median() > (1.5 if kind == "one station" else 0.95)


class Scaled(nn.Module):
    """A field with a strength that can be learned."""

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.box = BoxToroid()

    def forward(self, r, z, phi):
        return self.strength * self.box(r, z, phi)


def test_gradients_to_field_and_assignment_are_those_of_finite_differences(muons):
    field = Scaled()
    fit = ToroidFit(field=field)
    own = 2.0 + torch.rand(muons.logits[:50].shape, dtype=torch.float64)  # no two hits alike
    logits = torch.where(muons.logits[:50] > 0, own, -6.0).requires_grad_()
    direction, there, step = torch.randn_like(logits), muons.there[:50], 1e-4

    def run(logits, strength=1.0):
        field.strength.data.fill_(strength)
        return fit(muons.hits[:50], logits, muons.valid[:50])

    estimate = run(logits)
    for name in ("kappa", "phi", "log_likelihood"):
        (gradient,) = torch.autograd.grad(estimate[name][there].sum(), logits, retain_graph=True)
        with torch.no_grad():
            high, low = (run(logits + sign * step * direction)[name] for sign in (1, -1))
        expected, found = (high - low)[there] / (2 * step), (gradient * direction).sum(-1)[there]
        assert ((found - expected).abs() / expected.abs()).median() < 1e-2, name
    (gradient,) = torch.autograd.grad(estimate["kappa"][0, 0], field.strength)
    with torch.no_grad():
        high, low = (run(logits, 1 + sign * step)["kappa"][0, 0] for sign in (1, -1))
    assert gradient.item() == pytest.approx(((high - low) / (2 * step)).item(), rel=1e-3)


def test_traced_and_compiled_forms_agree_at_other_sizes(muons):
    fit = ToroidFit()
    small = muons.hits[:3, :50].clone(), muons.logits[:3, :, :50], muons.valid[:3, :50]
    traced = torch.jit.trace(fit, small, check_trace=False, strict=False)
    compiled = torch.compile(fit, fullgraph=True, dynamic=True, backend="eager")
    for arguments in (small, (muons.hits[:8], muons.logits[:8], muons.valid[:8])):
        expected = fit(*arguments)
        for form in (traced, compiled):
            for name, value in form(*arguments).items():
                torch.testing.assert_close(value, expected[name], atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high": ("x", "y")}, "high and low must be the fields of x, y and z"),
        ({"units": {"spacePoint_channel": 1.0}}, "units names .*channel.*, which it does not read"),
        ({"units": {"spacePoint_driftR": 0.0}}, "units must be positive"),
        ({"max_hits": 3}, "max_hits must be at least 4, got 3"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ToroidFit(**options)


def test_what_is_not_in_metres_is_named(muons):
    fit = ToroidFit()
    fit.check(muons.hits)
    with pytest.raises(ValueError, match=r"spacePoint_globEdgeHighX reaches .*, expected metres, at most 100"):
        fit.check(muons.hits * 1000)
    with pytest.raises(ValueError, match=r"spacePoint_driftR reaches .*, expected metres, at most 0.05"):
        fit.check(muons.hits * torch.tensor([1.0] * 6 + [5.0] * 4))
    with pytest.raises(ValueError, match=r"no hit is a drift tube: spacePoint_technology is 17 nowhere"):
        ToroidFit(tube=17.0).check(muons.hits)


def test_wrong_geometry_is_named():
    with pytest.raises(ValueError, match=r"geometry: energy_loss, radiation_lengths must be positive"):
        Geometry(energy_loss=-1.0, radiation_lengths=(0.0, 40.0))
