"""The response of a fit: what it starts from, what it learns, and its errors."""

import math

import pytest
import torch

from hitpool.fits import FitResponse


def fits(count, seed=0):
    """Fits with a momentum that is 8 % too large, azimuths 3 mrad off, and errors that grow with the curvature."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(count, generator=generator, dtype=torch.float64)  # noqa: E731
    qpt = torch.exp(-3 + 0.7 * draw()) * draw().sign()
    true = torch.stack([qpt, 1.2 * draw(), math.pi * (2 * torch.rand(count, generator=generator) - 1)], dim=-1)
    spread = torch.stack([0.03 * qpt.abs(), 0.002 + 0.1 * qpt.abs(), torch.full_like(qpt, 0.005)], dim=-1)
    noise = spread * torch.stack([draw(), draw(), draw()], dim=-1)
    found = true + noise
    fit = {"qpt": found[:, 0] / 1.08, "eta": found[:, 1], "phi": found[:, 2] + 0.003, "direction": found[:, 2]}
    kappa = fit["qpt"] / fit["eta"].cosh()
    fit |= {"kappa": kappa, "kappa_error": 0.01 * kappa.abs(), "num_hits": torch.full_like(qpt, 20.0)}
    fit |= {"chi2": torch.full_like(qpt, 18.0), "log_likelihood": torch.full_like(qpt, 60.0)}
    pooled = true + torch.stack([0.3 * qpt.abs() * draw(), 0.03 * draw(), 0.1 * draw()], dim=-1)
    return fit, pooled, true, spread


def stated_fits(count, seed=0):
    """Fits that state errors 30 % too small, and are half an error off in each parameter, to larger values."""
    fit, pooled, true, spread = fits(count, seed)
    found = true + spread * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed + 100)) + spread / 2
    stated = {f"{name}_error": 0.7 * spread[:, i] for i, name in enumerate(("qpt", "eta", "phi"))}
    fit = {name: fit[name] for name in ("num_hits", "chi2", "log_likelihood")}
    return fit | stated | dict(zip(("qpt", "eta", "phi"), found.unbind(-1), strict=True)), pooled, true, spread


def difference(estimate, true):
    change = estimate - true
    change[:, 2] = torch.remainder(change[:, 2] + math.pi, 2 * math.pi) - math.pi
    return change


def train(response, described, true, steps):
    optimizer = torch.optim.Adam(response.parameters(), 3e-3)
    response.scale_features(described["features"])
    for _ in range(steps):
        optimizer.zero_grad()
        response.loss(described, true).backward()
        optimizer.step()


def test_it_starts_from_the_fit_with_a_little_of_the_pooled_regression():
    fit, pooled, _, _ = fits(100)
    response = FitResponse()
    assert not response.ready
    described = response.describe(fit, pooled)
    estimate, error = response(described)
    share = 1 / (1 + math.exp(4))
    expected = described["fit"] + share * difference(pooled.clone(), described["fit"])
    torch.testing.assert_close(difference(estimate, expected), torch.zeros_like(estimate), atol=1e-12, rtol=0)
    assert (error > 0).all()


def test_it_learns_scale_offset_and_errors():
    torch.manual_seed(0)
    fit, pooled, true, _ = fits(4000)
    response = FitResponse()
    train(response, response.describe(fit, pooled), true, 300)
    fit, pooled, true, spread = fits(4000, seed=1)
    estimate, error = response(response.describe(fit, pooled))
    residual = difference(estimate.detach(), true)
    scaled = residual / spread
    assert scaled.median(dim=0).values.abs().max() < 0.15
    assert (scaled.abs().quantile(0.6827, dim=0) < 1.15).all()
    for part in (true[:, 0].abs() < 0.05, true[:, 0].abs() > 0.05):
        pull = (residual / error.detach())[part]
        assert ((pull.abs().quantile(0.6827, dim=0) - 1).abs() < 0.2).all()


def test_errors_that_all_go_one_way_at_equal_momentum_cost_more():
    """Half a unit of q / pT, to larger size for all, to either side in turn, or to larger size at low pT alone."""
    fit, pooled, true, _ = fits(1200)
    response = FitResponse()
    described = response.describe(fit, pooled)
    with torch.no_grad():
        response.net[-1].bias[3:6] = -50.0  # the fit alone
    size, charge = true[:, 0].abs(), true[:, 0].sign()
    step = 0.5 * (0.025 * size + 2e-4)
    either = 2.0 * (size.argsort().argsort() % 2) - 1
    sides = {
        "out": torch.ones(1200),
        "either": either,
        "low": torch.where(size > size.median(), 1.0, either),
    }
    losses = {}
    for name, side in sides.items():
        described["fit"] = true.clone()
        described["fit"][:, 0] += side * charge * step
        losses[name] = response.loss(described, true).item()
    expected = (0.5 / (1 + 0.125)) ** 2
    assert losses["out"] - losses["either"] == pytest.approx(expected, abs=0.01)
    assert losses["low"] - losses["either"] == pytest.approx(expected / 2, abs=0.01)


def test_right_errors_cost_less_than_too_large_ones():
    fit, pooled, true, _ = fits(2000)
    response = FitResponse()
    described = response.describe(fit, pooled)
    units = response(described)[1].detach()
    noise = torch.randn(2000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    described["fit"] = true + 0.1 * units * noise  # a fit that needs no correction
    too_large = response.loss(described, true)
    with torch.no_grad():
        response.net[-1].bias[6:9] = math.log(0.1)
        assert response.loss(described, true) < too_large - 0.2


def test_it_learns_the_correlations_of_the_errors():
    """Errors of eta that go with those of q / pT on one side, and against them on the other."""
    torch.manual_seed(0)

    def correlated(seed):
        fit, pooled, true, spread = fits(8000, seed)
        side = torch.where(true[:, 1] > 0, 0.8, -0.4)
        noise = torch.randn(8000, 3, generator=torch.Generator().manual_seed(seed + 50), dtype=torch.float64)
        second = side * noise[:, 0] + (1 - side.square()).sqrt() * noise[:, 1]
        third = 0.6 * noise[:, 0] + 0.8 * noise[:, 2]
        found = true + spread * torch.stack([noise[:, 0], second, third], dim=-1)
        return (
            fit | {"qpt": found[:, 0], "eta": found[:, 1], "phi": found[:, 2], "direction": found[:, 2]},
            pooled,
            true,
        )

    fit, pooled, true = correlated(0)
    response = FitResponse()
    described = response.describe(fit, pooled)
    assert (response.correlation(described) == 0).all()
    train(response, described, true, 300)
    fit, pooled, true = correlated(1)
    described = response.describe(fit, pooled)
    with torch.no_grad():
        estimate, error = response(described)
        a, b, c = correlation = response.correlation(described).unbind(-1)
    assert (1 - a.square() - b.square() - c.square() + 2 * a * b * c > 0).all()  # determinant of the matrix
    pull = (difference(estimate, true) / error).clamp(-3, 3)
    for side in (true[:, 1] > 0.3, true[:, 1] < -0.3):
        of_pulls = torch.corrcoef(pull[side].T)
        for found, (i, j) in zip(correlation, ((0, 1), (0, 2), (1, 2)), strict=True):
            assert abs(of_pulls[i, j]) > 0.1
            assert found[side].mean() == pytest.approx(of_pulls[i, j].item(), abs=0.08)


def test_it_corrects_errors_that_the_fit_states():
    torch.manual_seed(0)
    fit, pooled, true, spread = stated_fits(4000)
    response = FitResponse(fit_errors=True, largest_curvature=2.0)
    described = response.describe(fit, pooled)
    assert set(described) == set(response.describes)
    _, error = response(described)
    torch.testing.assert_close(error, 0.7 * spread)  # at first as stated
    train(response, described, true, 300)
    fit, pooled, true, spread = stated_fits(4000, seed=1)
    estimate, error = response(response.describe(fit, pooled))
    residual = difference(estimate.detach(), true)
    assert (residual / spread).median(dim=0).values.abs().max() < 0.15
    for part in (true[:, 0].abs() < 0.05, true[:, 0].abs() > 0.05):
        pull = (residual / error.detach())[part]
        assert ((pull.abs().quantile(0.6827, dim=0) - 1).abs() < 0.2).all()


def test_where_the_fit_has_failed_the_pooled_regression_takes_over():
    torch.manual_seed(0)

    def broken(seed):
        fit, pooled, true, _ = fits(4000, seed)
        bad = torch.arange(4000) % 4 == 0
        fit["qpt"] = torch.where(bad, -0.2 * fit["qpt"], fit["qpt"])
        fit["chi2"] = torch.where(bad, 200.0, fit["chi2"])
        return fit, pooled, true, bad

    fit, pooled, true, _ = broken(0)
    response = FitResponse()
    train(response, response.describe(fit, pooled), true, 300)
    fit, pooled, true, bad = broken(1)
    estimate, error = response(response.describe(fit, pooled))
    relative = ((estimate - true) / true)[:, 0].abs()
    assert relative[bad].median() < 0.35
    assert relative[~bad].median() < 0.05
    assert (error[bad, 0] / true[bad, 0].abs()).median() > 3 * (error[~bad, 0] / true[~bad, 0].abs()).median()


def test_whole_turns_do_not_matter():
    fit, pooled, true, _ = fits(50)
    response = FitResponse()
    torch.nn.init.normal_(response.net[-1].weight)
    turned = pooled + torch.tensor([0.0, 0.0, 2 * math.pi])
    expected, found = (response.loss(response.describe(fit, values), true) for values in (pooled, turned))
    torch.testing.assert_close(found, expected)


def test_what_it_has_never_seen_gives_finite_estimates_and_errors():
    fit, pooled, true, _ = fits(200)  # all with 20 hits
    response = FitResponse()
    train(response, response.describe(fit, pooled), true, 30)
    for name, value in {"num_hits": 0.0, "qpt": 0.0, "kappa_error": 1e9, "log_likelihood": -1e9}.items():
        described = response.describe(fit | {name: torch.full_like(fit["qpt"], value)}, pooled)
        assert all(part.isfinite().all() for part in response(described)), name


def test_weights_say_whether_it_is_trained():
    response = FitResponse()
    response.declare(trained=True)
    other = FitResponse()
    other.load_state_dict(response.state_dict())
    assert other.ready
    other.load_state_dict(FitResponse().state_dict())
    assert not other.ready


@pytest.mark.parametrize("name", ["sectors", "hidden_dim"])
def test_wrong_options_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        FitResponse(**{name: 0})


def test_a_curvature_that_is_not_positive_is_named():
    with pytest.raises(ValueError, match="largest_curvature must be positive, got 0"):
        FitResponse(largest_curvature=0)
