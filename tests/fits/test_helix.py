"""Helix fits against helices."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from hitpool.fits import HelixFit
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

FIELD = 2.0
RADII = np.array([0.032, 0.072, 0.116, 0.172, 0.26, 0.36, 0.5, 0.66, 0.82, 1.02])
ANGLES = ("phi",)


def helices(count, seed=0, low=1.0):
    """Parameters of muons from the beam line, [count] each."""
    random = np.random.default_rng(seed)
    pt = np.exp(random.uniform(np.log(low), np.log(100), count))
    return {
        "eta": random.uniform(-2.5, 2.5, count),
        "phi": random.uniform(-math.pi, math.pi, count),
        "qpt": random.choice([-1, 1], count) / pt,
        "z0": random.normal(0, 0.05, count),
        "d0": np.zeros(count),
    }


def points_of(helix, radii=RADII):
    """Where helices cross cylinders, [count, M, 3]: solved by turning angle, from the equations of motion."""
    eta, phi, qpt, z0 = (helix[name][:, None] for name in ("eta", "phi", "qpt", "z0"))
    radius = 1 / (0.299792458 * FIELD * qpt)  # of the circle, signed: a positive charge turns clockwise
    angle = 2 * np.arcsin(radii / (2 * radius))  # turned since the beam line
    x = radius * (np.sin(phi) - np.sin(phi - angle))
    y = radius * (np.cos(phi - angle) - np.cos(phi))
    return np.stack([x, y, z0 + np.sinh(eta) * radius * angle], axis=-1)


def tensor(values):
    return torch.from_numpy(values).float()


def with_z(points):
    """The points and z once more, from which the fit judges the precision."""
    return torch.cat([points, points[..., 2:]], dim=-1)


def fit_all(points, fit=None):
    fit = fit or HelixFit(hit_fields=["z"], field=FIELD)
    points = tensor(points)
    return fit(with_z(points), torch.full((len(points), 1, points.shape[1]), 9.0))


def differences(estimate, helix):
    for name, true in helix.items():
        difference = estimate[name].squeeze(-1).detach().numpy() - true
        yield name, (np.arctan2(np.sin(difference), np.cos(difference)) if name in ANGLES else difference)


def test_points_on_helices_give_their_parameters():
    helix = helices(2000)
    limits = {"eta": 5e-5, "phi": 2e-6, "qpt": 2e-5, "z0": 3e-4, "d0": 1e-6}  # of the arc length, (r / R)^9
    for name, difference in differences(fit_all(points_of(helix)), helix):
        assert abs(difference).max() < limits[name], name


@pytest.mark.parametrize("field", [FIELD, -FIELD])
def test_tracks_that_miss_the_beam_line_by_a_millimetre(field):
    torch.manual_seed(0)
    helix = helices(500)
    helix["d0"] = np.random.default_rng(1).normal(0, 1e-3, 500)
    phi, d0 = helix["phi"][:, None], helix["d0"][:, None]
    radius = 1 / (0.299792458 * field * helix["qpt"][:, None])
    angle = np.arange(1, 11) * 0.1 / radius  # turned every 10 cm
    x = radius * (np.sin(phi) - np.sin(phi - angle)) - d0 * np.sin(phi)
    y = radius * (np.cos(phi - angle) - np.cos(phi)) + d0 * np.cos(phi)
    z = helix["z0"][:, None] + np.sinh(helix["eta"][:, None]) * radius * angle
    estimate = fit_all(np.stack([x, y, z], axis=-1), HelixFit(hit_fields=["z"], field=field))
    limits = {"eta": 1e-3, "phi": 2e-5, "qpt": 1e-4, "z0": 3e-4, "d0": 3e-6}
    for name, difference in differences(estimate, helix):
        assert abs(difference).max() < limits[name], name


def test_above_5_gev_the_arc_length_is_exact():
    helix = helices(2000, low=5.0)
    for name, difference in differences(fit_all(points_of(helix)), helix):
        assert abs(difference).max() < 1e-5, name  # float32 coordinates


def test_it_is_the_best_fit_of_smeared_points():
    """Against a least-squares fit of the distances to the true helix with SciPy."""
    helix = helices(20, seed=1, low=2.0)
    points = points_of(helix)
    random = np.random.default_rng(2)
    points[..., :2] += random.normal(0, 1e-4, points[..., :2].shape)
    points[..., 2] += random.normal(0, 1e-4, points.shape[:2])
    fit = HelixFit(hit_fields=["z"], field=FIELD, num_fits=1)
    torch.nn.init.zeros_(fit.precision[-1].weight)
    torch.nn.init.zeros_(fit.precision[-1].bias)
    estimate = fit_all(points, fit)
    for event, hits in enumerate(points):
        rotate = np.exp(-1j * helix["phi"][event])
        w = (hits[:, 0] + 1j * hits[:, 1]) * rotate

        def distance(parameters, w=w):
            a, slope, curvature = parameters  # distance of the beam line, direction, 1 / R
            centre = (a + 1 / curvature) * 1j * np.exp(1j * slope)
            return (np.abs(w - centre) - abs(1 / curvature)) / 1e-4

        start = [0.0, 0.0, -helix["qpt"][event] * 0.299792458 * FIELD]
        best = least_squares(distance, start, x_scale=[1e-4, 1e-3, 1e-2], xtol=1e-12, ftol=1e-12).x
        turned = (estimate["phi"][event, 0].item() - helix["phi"][event] + math.pi) % (2 * math.pi) - math.pi
        assert turned == pytest.approx(best[1], abs=2e-5)
        assert estimate["qpt"][event, 0].item() == pytest.approx(-best[2] / (0.299792458 * FIELD), abs=1e-4)


def test_unassigned_and_padded_hits_have_no_influence():
    helix = helices(50)
    points = points_of(helix)
    alone = fit_all(points, fit := HelixFit(hit_fields=["z"], field=FIELD))
    noise = np.random.default_rng(0).normal(0, 1, points.shape)
    noise[:, 0] = np.nan
    both = tensor(np.concatenate([points, noise], axis=1))
    logits = torch.full((50, 2, 20), -9.0)
    logits[:, 0, :10], logits[:, 1, 10:] = 9.0, 9.0
    valid = torch.ones(50, 20, dtype=torch.bool)
    valid[:, 10] = False
    order = torch.randperm(20)
    estimate = fit(with_z(both[:, order]), logits[..., order], valid[:, order])
    for name, values in alone.items():
        torch.testing.assert_close(estimate[name][:, :1], values, atol=1e-6, rtol=1e-6)
        assert estimate[name].isfinite().all()


def test_a_rotation_about_the_beam_turns_phi_alone():
    helix = helices(50)
    fit = HelixFit(hit_fields=["z"], field=FIELD)
    before = fit_all(points_of(helix), fit)
    after = fit_all(points_of(helix | {"phi": helix["phi"] + 1.0}), fit)
    turned = torch.remainder(after["phi"] - before["phi"], 2 * math.pi)
    torch.testing.assert_close(turned, torch.ones_like(turned), atol=2e-6, rtol=0)
    for name in ("eta", "qpt", "d0", "z0"):
        torch.testing.assert_close(after[name], before[name], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("hits", [0, 1, 2])
def test_few_hits_give_finite_results_and_gradients(hits):
    points = tensor(points_of(helices(4)))
    logits = torch.full((4, 1, 10), -9.0)
    logits[..., :hits] = 9.0
    fit = HelixFit(hit_fields=["z"], field=FIELD)
    estimate = fit(with_z(points), logits)
    assert all(values.isfinite().all() for values in estimate.values())
    if hits == 0:
        assert all((values == 0).all() for values in estimate.values())
    sum(values.sum() for values in estimate.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in fit.parameters())


def test_it_learns_which_hits_are_precise():
    """Half of the layers are ten times less precise: the learned fit is close to the one with the right weights."""
    torch.manual_seed(0)
    random = np.random.default_rng(3)
    spread = np.where(np.arange(10) % 2, 1e-3, 1e-4)

    def sample(count, seed):
        helix = helices(count, seed, low=20.0)
        points = points_of(helix)
        angle = random.normal(0, spread / RADII, points.shape[:2])
        x, y = points[..., 0] - angle * points[..., 1], points[..., 1] + angle * points[..., 0]
        return helix, tensor(np.stack([x, y, points[..., 2]], -1))

    kind = torch.tensor(spread > 5e-4).float()[None, :, None]  # [1, M, 1]
    logits = torch.full((1, 1, 10), 9.0)

    def error(fit, helix, points):
        estimate = fit(torch.cat([points, kind.expand(len(points), -1, -1)], -1), logits.expand(len(points), -1, -1))
        return (estimate["qpt"].squeeze(-1) - tensor(helix["qpt"])) * 1e3

    def fit_with(log_sigma):
        fit = HelixFit(hit_fields=["kind"], field=FIELD, num_fits=1)
        fit.precision = torch.nn.Linear(1, 2)
        torch.nn.init.constant_(fit.precision.weight, log_sigma)
        torch.nn.init.zeros_(fit.precision.bias)
        return fit

    fit = HelixFit(hit_fields=["kind"], field=FIELD, num_fits=2)
    optimizer = torch.optim.Adam(fit.parameters(), 1e-2)
    for step in range(150):
        optimizer.zero_grad()
        error(fit, *sample(500, step)).square().mean().backward()
        optimizer.step()
    test = sample(5000, 1000)
    learned, best, equal = (error(f, *test).square().mean().sqrt() for f in (fit, fit_with(math.log(10)), fit_with(0)))
    assert equal > 2 * best
    assert learned < 1.05 * best


def task(**kwargs):
    options = {
        "name": "regression",
        "input_hit": "hit",
        "input_object": "query",
        "output_object": "track",
        "target_object": "particle",
        "hit_fields": ["x", "y", "z"],
        "fields": ["mu_eta", "mu_phi", "mu_pt", "mu_qpt", "mu_q"],
        "inverse_fields": ["mu_pt"],
        "periodic_fields": ["mu_phi"],
        "sign_fields": ["mu_q"],
        "standardize": {"mu_eta": [0, 1e-3], "mu_phi": [0, 1e-3], "mu_pt": [0, 1e-2], "mu_qpt": [0, 1e-2]},
        "loss_weight": 1.0,
        "dim": 8,
    }
    return WeightedPoolingObjectHitRegressionTask(**options | kwargs)


def test_before_training_the_task_predicts_what_the_fit_gives():
    helix = helices(30)
    points = tensor(points_of(helix))
    regression = task(track_fit=HelixFit(hit_fields=["x", "z"], field=FIELD))
    x = {"inputs": {f"hit_{name}": points[..., i] for i, name in enumerate("xyz")}}
    x |= {
        "hit_valid": torch.ones(30, 10, dtype=torch.bool),
        "query_embed": torch.randn(30, 1, 8),
        "hit_embed": torch.randn(30, 10, 8),
    }
    done = {"mask": {"track_hit_logit": torch.full((30, 1, 10), 9.0)}}
    preds = regression.predict(regression(x, done))
    turned = np.angle(np.exp(1j * (preds["track_mu_phi"].squeeze(-1).detach().numpy() - helix["phi"])))
    assert abs(turned).max() < 1e-5
    assert preds["track_mu_eta"].squeeze(-1).detach().numpy() == pytest.approx(helix["eta"], abs=1e-4)
    assert preds["track_mu_qpt"].squeeze(-1).detach().numpy() == pytest.approx(helix["qpt"], abs=1e-5)
    assert preds["track_mu_pt"].squeeze(-1).detach().numpy() == pytest.approx(1 / abs(helix["qpt"]), rel=1e-3)
    targets = {"particle_valid": torch.ones(30, 1, dtype=torch.bool)}
    truth = helix | {"pt": 1 / abs(helix["qpt"]), "q": np.sign(helix["qpt"])}
    targets |= {f"particle_mu_{name}": tensor(values)[:, None] for name, values in truth.items()}
    loss = regression.loss(regression(x, done), targets)["smooth_l1"]
    loss.backward()
    assert loss < 0.2  # log(2) of the charge, over five fields
    assert all(p.grad.isfinite().all() for p in regression.parameters() if p.grad is not None)
    assert regression.track_fit.precision[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": ("x", "y")}, "points must be the fields of x, y and z"),
        ({"field": 0.0}, "field must not be 0"),
        ({"num_fits": 0}, "num_fits must be positive, got 0"),
        ({"resolution": -1.0}, "resolution must be positive"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HelixFit(**{"hit_fields": ["z"], "field": FIELD} | options)


@pytest.mark.parametrize(("factor", "size"), [(1000.0, "reach 1"), (300.0, "reach 3")])
def test_points_that_are_not_in_metres_are_refused_by_name(factor, size):
    points = points_of(helices(20))
    points *= factor / abs(points).max() * (1.0 if factor == 1000 else 1.2)
    with pytest.raises(ValueError, match=f"HelixFit: the points x, y, z {size}.*, expected metres, at most 100: scale"):
        fit_all(points)


def test_padded_points_may_hold_anything():
    points = tensor(points_of(helices(3)))
    points[:, 4:] = torch.tensor([1e30, torch.nan, torch.inf])
    valid = torch.arange(10).expand(3, -1) < 4
    fit = HelixFit(hit_fields=["z"], field=FIELD)
    estimate = fit(with_z(points), torch.full((3, 1, 10), 9.0), valid)
    assert all(values.isfinite().all() for values in estimate.values())
    with pytest.raises(ValueError, match=r"reach 1e\+30"):
        fit.check(torch.tensor([[[1e30, torch.nan, 0.0, 0.0]]]))


def test_the_check_of_the_unit_is_no_part_of_a_graph():
    points = tensor(points_of(helices(4)))
    fit = HelixFit(hit_fields=["z"], field=FIELD)
    arguments = with_z(points), torch.full((4, 1, 10), 9.0)
    expected = fit(*arguments)
    traced = torch.jit.trace(fit, arguments, check_trace=False, strict=False)
    exported = torch.export.export(fit, arguments).module()
    for name, values in expected.items():
        torch.testing.assert_close(traced(*arguments)[name], values)
        torch.testing.assert_close(exported(*arguments)[name], values)
