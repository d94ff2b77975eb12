"""The fit in a solenoid against helices with scattering, SciPy's least squares, symmetries and its compiled forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from hitpool.fits import FitResponse, SolenoidFit, solenoid
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

from .solenoid_tracks import BEND, FIELD, RADIATION_LENGTHS, follow, simulate

BEAM_SPOT = (1e-3, 0.1)
NUMBERS = tuple(name for name in SolenoidFit.gives if name != "posterior")


def make_fit(**options):
    return SolenoidFit(**{"field": FIELD, "radiation_lengths": RADIATION_LENGTHS, "beam_spot": BEAM_SPOT} | options)


@pytest.fixture(scope="module")
def muons():
    return simulate(600)


def certain(hits):
    return torch.full((len(hits), 1, hits.shape[1]), 9.0, dtype=torch.float64)


def fit_all(hits, **options):
    return {name: value.squeeze(1).numpy() for name, value in make_fit(**options)(hits, certain(hits)).items()}


def wrapped(angle):
    return (angle + math.pi) % (2 * math.pi) - math.pi


def differences(estimate, tracks):
    true = dict(zip(("d0", "z0", "phi", "eta", "qpt"), tracks.T, strict=True))
    return {
        name: wrapped(estimate[name] - value) if name == "phi" else estimate[name] - value
        for name, value in true.items()
    }


def test_points_on_helices_give_their_parameters():
    """Up to what the priors do to them."""
    exact = simulate(200, seed=1, noise=0.0)
    estimate = fit_all(exact.hits, beam_spot=(1.0, 10.0))
    limits = {"d0": 1e-6, "z0": 2e-6, "phi": 1e-5, "eta": 2e-6, "qpt": 1e-4}
    for name, difference in differences(estimate, exact.tracks).items():
        assert abs(difference).max() < limits[name], name
        if f"{name}_error" in estimate:
            assert (abs(difference) < 0.01 * estimate[f"{name}_error"]).all(), name
    assert (estimate["chi2"] < 1e-2).all()


def test_errors_are_those_of_the_residuals(muons):
    estimate = fit_all(muons.hits)
    for name, difference in differences(estimate, muons.tracks).items():
        if name in ("eta", "phi", "qpt"):
            pull = difference / estimate[f"{name}_error"]
            for part in (pull[::2], pull[1::2]):  # barrel, disks
                low, high = np.quantile(part, [0.1587, 0.8413])
                assert 0.85 < (high - low) / 2 < 1.15, name
                assert abs(np.median(part)) < 0.2, name
    assert np.median(estimate["chi2"]) == pytest.approx(15, rel=0.1)  # 20 coordinates, 5 parameters


@pytest.mark.parametrize("number", range(4))
def test_it_is_the_least_squares_of_helix_and_kinks(muons, number):
    """SciPy on 5 parameters and 20 kinks, with the scattering of the true momentum."""
    track, hits = muons.tracks[number], muons.hits[number].numpy()
    points, axes, errors = hits[None, :, :3], hits[None, :, 3:9].reshape(1, 10, 2, 3), np.sqrt(hits[:, 9:])
    estimate = {name: value[0] for name, value in fit_all(muons.hits[number : number + 1]).items()}
    start = np.array([estimate[name] for name in ("d0", "z0", "phi", "eta", "qpt")])
    _, spread = follow(start[None], points, axes, np.zeros((1, 10, 2)))
    size = np.array([1e-5, 1e-4, 1e-4, 1e-4, 1e-3 * abs(track[4]) + 1e-5])

    def residual(x):
        changed, kinks = start + size * x[:5], x[5:].reshape(10, 2)
        local, _ = follow(changed[None], points, axes, spread[..., None] * kinks)
        return np.concatenate([(local[0] / errors).ravel(), kinks.ravel(), changed[:2] / BEAM_SPOT])

    best = least_squares(residual, np.zeros(25), jac="3-point", diff_step=1e-2)
    change = dict(zip(("d0", "z0", "phi", "eta", "qpt"), size * best.x[:5], strict=True))
    # not best.jac: its steps are a share of parameters that are nearly 0
    jacobian = (
        np.stack([residual(best.x + step) - residual(best.x - step) for step in 0.01 * np.eye(25)], axis=1) / 0.02
    )
    covariance = np.linalg.inv(jacobian.T @ jacobian)
    error = dict(zip(change, size * np.sqrt(np.diag(covariance)[:5]), strict=True))
    for name in ("phi", "eta", "qpt"):
        assert abs(change[name]) < 0.02 * error[name], name
        assert estimate[f"{name}_error"] == pytest.approx(error[name], rel=5e-3), name
    assert estimate["chi2"] == pytest.approx(2 * best.cost - ((start[:2] / BEAM_SPOT) ** 2).sum(), rel=0.01)


def test_foreign_hits_lose_their_weight(muons):
    """Half of the hits are moved by 2 to 20 mm along the sharper coordinate and added, with equal probabilities."""
    generator = torch.Generator().manual_seed(0)
    shift = torch.rand(600, 5, 1, generator=generator).double() * 0.018 + 0.002
    foreign = muons.hits[:, 1::2].clone()
    foreign[..., :3] += shift * foreign[..., 3:6]
    hits = torch.cat([muons.hits, foreign], dim=1)
    logits = certain(hits)
    logits[..., [1, 3, 5, 7, 9, 10, 11, 12, 13, 14]] = 0.0
    estimate = make_fit()(hits, logits)
    alone = make_fit()(muons.hits, certain(muons.hits))
    assert estimate["posterior"][..., :10].mean() > 0.97
    assert estimate["posterior"][..., 10:].mean() < 0.02
    near = (estimate["qpt"] - alone["qpt"]).abs() < 0.5 * alone["qpt_error"]
    assert near.double().mean() > 0.95


def test_a_beam_spot_is_a_measurement(muons):
    """The tracks miss the beam line by 0.1 mm."""
    narrow, wide = (fit_all(muons.hits, beam_spot=(spread, 0.1)) for spread in (1e-4, 1e-2))
    assert (narrow["phi_error"] < wide["phi_error"]).all()
    spreads = []
    for estimate in (narrow, wide):
        low, high = np.quantile(wrapped(estimate["phi"] - muons.tracks[:, 2]) / wide["phi_error"], [0.1587, 0.8413])
        spreads.append((high - low) / 2)
    assert spreads[0] < 0.98 * spreads[1]


def test_padded_and_unassigned_hits_have_no_influence(muons):
    fit = make_fit(max_hits=12)
    expected = fit(muons.hits, certain(muons.hits))
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    junk = torch.full((600, 7, 11), torch.nan, dtype=torch.float64)
    junk[:, :3] = 1.0
    hits = torch.cat([muons.hits, junk], dim=1)[:, order]
    logits = torch.cat([certain(muons.hits), torch.full((600, 1, 7), -9.0)], dim=-1)
    logits[..., 13:] = 9.0
    valid = (torch.arange(17) < 13).expand(600, -1)[:, order]
    found = fit(hits, logits[..., order], valid)
    for name in NUMBERS:
        torch.testing.assert_close(found[name], expected[name], atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(found["posterior"][..., order.argsort()[:10]], expected["posterior"], atol=1e-6, rtol=0)
    assert (found["posterior"][..., order.argsort()[10:]] == 0).all()


def test_a_rotation_about_the_beam_turns_phi_alone(muons):
    cos, sin = math.cos(1.0), math.sin(1.0)
    turned = muons.hits.clone()
    for x in (0, 3, 6):
        turned[..., x] = cos * muons.hits[..., x] - sin * muons.hits[..., x + 1]
        turned[..., x + 1] = sin * muons.hits[..., x] + cos * muons.hits[..., x + 1]
    before, after = fit_all(muons.hits), fit_all(turned)
    np.testing.assert_allclose(wrapped(after["phi"] - before["phi"] - 1.0), 0, atol=1e-9)
    for name in set(NUMBERS) - {"phi"}:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-8)


def test_the_other_field_has_the_other_charge(muons):
    before, after = fit_all(muons.hits), fit_all(muons.hits, field=-FIELD)
    np.testing.assert_allclose(after["qpt"], -before["qpt"])
    np.testing.assert_allclose(after["phi"], before["phi"])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2), st.integers(0, 3), st.integers(0, 30), st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 1.0])
)
def test_anything_gives_finite_results(events, tracks, hits, seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(events, hits, 11, generator=generator).double() * 5
    logits = torch.randn(events, tracks, hits, generator=generator) * 5
    valid = torch.rand(events, hits, generator=generator) < 0.8
    estimate = make_fit()(values, logits, valid, threshold)
    assert set(estimate) == set(SolenoidFit.gives)
    for name, value in estimate.items():
        assert value.shape == ((events, tracks, hits) if name == "posterior" else (events, tracks))
        assert value.isfinite().all(), name


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_hits_give_finite_results_and_gradients(muons, number):
    logits = torch.full((8, 1, 10), -9.0, dtype=torch.float64)
    logits[..., :number] = 2.0
    logits.requires_grad_()
    estimate = make_fit()(muons.hits[:8], logits)
    assert all(value.isfinite().all() for value in estimate.values())
    sum(value.sum() for value in estimate.values()).backward()
    assert logits.grad.isfinite().all()
    full = make_fit()(muons.hits[:8], certain(muons.hits[:8]))
    for name in ("qpt_error", "phi_error"):
        assert (estimate[name] > full[name]).all()
    if number == 0:
        assert all((estimate[name] == 0).all() for name in ("eta", "phi", "qpt", "d0", "z0", "num_hits", "chi2"))
        torch.testing.assert_close(estimate["qpt_error"], torch.full((8, 1), 1 / BEND, dtype=torch.float64))


def test_gradients_to_the_assignment_are_those_of_finite_differences(muons):
    generator = torch.Generator().manual_seed(2)
    logits = (1 + torch.rand(2, 1, 10, generator=generator)).double().requires_grad_()
    fit = make_fit()

    def run(logits):
        estimate = fit(muons.hits[:2], logits)
        units = {"eta": 1e-3, "phi": 1e-3, "qpt": 1e-2, "log_likelihood": 1.0}
        return torch.stack([estimate[name] / unit for name, unit in units.items()])

    assert torch.autograd.gradcheck(run, logits, eps=1e-5, atol=1e-5, rtol=1e-3)


def test_traced_and_compiled_forms_agree_at_other_sizes(muons, monkeypatch):
    monkeypatch.setattr(solenoid, "WIDTHS", (1e-3, 0.0))  # the steps are all alike
    fit = make_fit(max_hits=12)
    hits, logits = muons.hits, torch.cat([certain(muons.hits), certain(muons.hits) - 8], dim=1)
    valid = torch.ones(600, 10, dtype=torch.bool)
    small = hits[:3, :7].clone(), logits[:3, :, :7].clone(), valid[:3, :7].clone()
    traced = torch.jit.trace(fit, small, check_trace=False, strict=False)
    compiled = torch.compile(fit, fullgraph=True, dynamic=True, backend="eager")
    for arguments in (small, (hits[:8], logits[:8], valid[:8])):
        expected = fit(*arguments)
        for form in (traced, compiled):
            for name, value in form(*arguments).items():
                torch.testing.assert_close(value, expected[name], atol=1e-9, rtol=1e-6)


def test_a_task_gives_the_fit_and_its_errors(muons):
    """The response of a new network changes nothing, once its gate is closed."""
    response = FitResponse(fit_errors=True, largest_curvature=2.0)
    torch.nn.init.constant_(response.net[-1].bias[3:6], -50.0)
    fit = make_fit()
    names = {"name": "regression", "input_hit": "hit", "input_object": "query", "output_object": "track"}
    fields = {"hit_fields": ["x"], "fields": ["eta", "phi", "pt", "qpt"], "inverse_fields": ["pt"]}
    options = {"target_object": "muon", "loss_weight": 1.0, "dim": 4, "track_fit": fit, "response": response}
    task = WeightedPoolingObjectHitRegressionTask(**names, **fields, **options)
    hits = muons.hits[:5].float()
    x = {"inputs": {f"hit_{name}": hits[..., k] for k, name in enumerate(fit.inputs)}}
    x |= {"query_embed": torch.randn(5, 1, 4), "hit_embed": torch.randn(5, 10, 4)}
    x |= {"hit_valid": torch.ones(5, 10, dtype=torch.bool)}
    done = {"mask": {"track_hit_logit": certain(hits).float()}}
    assert set(task.predict(task(x, done))) == {f"track_{name}" for name in fields["fields"]}
    response.declare(trained=True)
    preds, expected = task.predict(task(x, done)), fit(hits, certain(hits))
    for name in ("eta", "phi", "qpt", "eta_error", "phi_error", "qpt_error"):
        torch.testing.assert_close(preds[f"track_{name}"], expected[name].float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(preds["track_pt"], 1 / expected["qpt"].abs().float(), rtol=1e-5, atol=0)
    errors = ["eta_error", "phi_error", "pt_error", "qpt_error"]
    correlations = ["qpt_eta_correlation", "qpt_phi_correlation", "eta_phi_correlation"]
    assert list(task.predicted) == ["eta", "phi", "pt", "qpt", *errors, *correlations]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": ("x", "y")}, "first must be the fields of x, y and z"),
        ({"field": 0.0}, "field must not be 0, got 0.0"),
        ({"radiation_lengths": 0.0}, "radiation_lengths and beam_spot must be positive"),
        ({"beam_spot": (0.0, 1.0)}, "radiation_lengths and beam_spot must be positive"),
        ({"units": {"layer": 1.0}}, r"units names \['layer'\], which it does not read"),
        ({"units": {"var_loc0": -1.0}}, "units must be positive"),
        ({"max_hits": 2}, "max_hits must be at least 3, got 2"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_fit(**options)


def test_wrong_units_are_named(muons):
    fit = make_fit(units={"var_loc0": 1e-6})
    fit.check(muons.hits)
    scale = torch.ones(11, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"the points x, y, z reach .*, expected metres, at most 100"):
        fit.check(muons.hits * scale.index_fill(0, torch.tensor([0, 1, 2]), 1000.0))
    with pytest.raises(ValueError, match=r"var_loc1 reaches .*, expected m\^2, at most 0.01"):
        fit.check(muons.hits * scale.index_fill(0, torch.tensor([10]), 1e6))
    with pytest.raises(ValueError, match=r"loc0_x, loc0_y, loc0_z must be a unit vector, got the length 2"):
        fit.check(muons.hits * scale.index_fill(0, torch.tensor([3, 4, 5]), 2.0))
