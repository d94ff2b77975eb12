"""Losses that learn an error or quantiles, against SciPy and NumPy."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from hitpool.tasks import ObjectRegressionTask, WeightedPoolingObjectHitRegressionTask

FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
SPACE = {
    "inverse_fields": ["truthMuon_pt"],
    "periodic_fields": ["truthMuon_phi"],
    "sign_fields": ["truthMuon_q"],
    "standardize": {"truthMuon_pt": (0.05, 0.04), "truthMuon_phi": (0.1, 1.8)},
}


def make(loss: str, **options: object) -> ObjectRegressionTask:
    arguments = {"fields": FIELDS, "loss_weight": 1.0, "dim": 8, "loss": loss} | SPACE | options
    return ObjectRegressionTask("parameter_regression", "query", "track", "particle", **arguments)


def learned(events: int, extra: int, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "track_regr": torch.randn(events, 2, 4, generator=generator, dtype=torch.float64),
        "track_shape": torch.randn(events, 2, 4, extra, generator=generator, dtype=torch.float64),
    }


def encoded(targets: dict) -> np.ndarray:
    """Targets of the four particles in the learned space [P, K]; q as it is."""
    valid = targets["particle_valid"]
    eta, phi, pt, q = (targets[f"particle_{field}"][valid].double().numpy() for field in FIELDS)
    return np.stack([eta, (phi - 0.1) / 1.8, (1 / pt - 0.05) / 0.04, q], axis=-1)


def differences(outputs: dict, targets: dict) -> np.ndarray:
    """Prediction minus target [P, 3], phi by the shorter way round."""
    regr = outputs["track_regr"][targets["particle_valid"]].numpy()
    difference = (regr - encoded(targets))[:, :3]
    difference[:, 1] = np.angle(np.exp(1j * 1.8 * difference[:, 1])) / 1.8
    return difference


def charge_loss(outputs: dict, targets: dict) -> np.ndarray:
    logit = outputs["track_regr"][targets["particle_valid"]].numpy()[:, 3]
    return np.log1p(np.exp(-logit * encoded(targets)[:, 3]))


def test_gaussian_is_the_negative_log_likelihood(targets: dict) -> None:
    outputs = learned(4, 1)
    log = outputs["track_shape"][targets["particle_valid"]].numpy()[:, :3, 0]
    sigma = np.exp(15 * np.tanh(log / 15))
    nll = -stats.norm.logpdf(differences(outputs, targets), scale=sigma) - 0.5 * math.log(2 * math.pi)
    expected = np.concatenate([nll, charge_loss(outputs, targets)[:, None]], axis=1).mean()
    loss = make("gaussian").loss(outputs, targets)
    assert loss["gaussian"].item() == pytest.approx(expected, rel=1e-6)


def test_quantile_is_the_pinball_loss(targets: dict) -> None:
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    outputs = learned(4, 4)
    task = make("quantile", quantiles=levels)
    shape = np.log1p(np.exp(outputs["track_shape"][targets["particle_valid"]].numpy()[:, :3]))  # [P, 3, 4] above 0
    below, above = shape[..., :2], shape[..., 2:]
    steps = [-below.sum(-1), -below[..., 1], 0 * below[..., 0], above[..., 0], above.sum(-1)]
    terms = []
    for level, step in zip(levels, steps, strict=True):
        u = -(differences(outputs, targets) + step)
        terms.append(np.where(u > 0, level * u, (level - 1) * u))
    expected = np.concatenate([np.mean(terms, axis=0), charge_loss(outputs, targets)[:, None]], axis=1).mean()
    assert task.loss(outputs, targets)["quantile"].item() == pytest.approx(expected, rel=1e-6)


def test_cost_is_the_loss_of_each_pair(targets: dict) -> None:
    for loss, extra in (("gaussian", 1), ("quantile", 2)):
        outputs, task = learned(4, extra), make(loss, cost_weight=2.0)
        cost = task.cost(outputs, targets)[loss]
        for event, true in targets["particle_valid"].nonzero().tolist():
            for pred in range(2):
                pair = {key: value[event, true].view(1, 1) for key, value in targets.items() if "truthMuon" in key}
                pair["particle_valid"] = torch.ones(1, 1, dtype=torch.bool)
                one = {key: value[event, pred][None, None] for key, value in outputs.items()}
                torch.testing.assert_close(cost[event, pred, true], 2 * task.loss(one, pair)[loss])


def test_error_is_that_of_the_physical_value() -> None:
    task, outputs = make("gaussian"), learned(50, 1)
    outputs["track_regr"][..., 2] = torch.rand(50, 2) + 0.5  # pT of 9 to 16 GeV
    preds = task.predict(outputs)
    assert [name.removeprefix("track_") for name in preds] == task.predicted
    assert task.predicted == [*FIELDS, *(f"{field}_error" for field in FIELDS[:3])]
    sigma = torch.exp(15 * torch.tanh(outputs["track_shape"][..., 0] / 15))
    torch.testing.assert_close(preds["track_truthMuon_phi_error"], 1.8 * sigma[..., 1])
    nudged = {name: value.clone() for name, value in outputs.items()}
    nudged["track_regr"][..., 2] += 1e-6 * sigma[..., 2]
    change = (task.predict(nudged)["track_truthMuon_pt"] - preds["track_truthMuon_pt"]).abs() / 1e-6
    torch.testing.assert_close(preds["track_truthMuon_pt_error"], change, rtol=1e-4, atol=0)


def test_quantiles_do_not_cross_and_are_those_of_the_physical_value() -> None:
    task, outputs = make("quantile", quantiles=[0.025, 0.16, 0.5, 0.84, 0.975]), learned(50, 4)
    outputs["track_regr"][..., 1] = 0.0
    outputs["track_shape"] *= 0.1
    preds = task.predict(outputs)
    for field in ("truthMuon_eta", "truthMuon_pt"):
        rows = [preds[f"track_{field}{end}"] for end in ("_q2p5", "_q16", "", "_q84", "_q97p5")]
        assert all((one <= other).all() for one, other in pairwise(rows))
    assert "track_truthMuon_q_q16" not in preds
    assert [name.removeprefix("track_") for name in preds] == task.predicted


@pytest.mark.parametrize(("loss", "extra"), [("gaussian", 1), ("quantile", 2)])
def test_learns_the_spread_of_its_targets(loss: str, extra: int) -> None:
    """Values of one spread, pT of a log-normal distribution: errors and quantiles against those of SciPy."""
    generator = torch.Generator().manual_seed(3)
    number = 4000
    noise = torch.randn(2, number, 1, generator=generator)
    targets = {"particle_valid": torch.ones(number, 1, dtype=torch.bool), "particle_eta": 1 + 0.3 * noise[0]}
    targets["particle_pt"] = 10 * torch.exp(0.2 * noise[1])
    options = {"inverse_fields": ["pt"], "standardize": {"pt": (0.1, 0.05)}, "periodic_fields": [], "sign_fields": []}
    task = make(loss, fields=["eta", "pt"], **options)
    outputs = {"track_regr": torch.zeros(1, 1, 2), "track_shape": torch.zeros(1, 1, 2, extra)}
    parameters = [value.requires_grad_() for value in outputs.values()]
    optimizer = torch.optim.Adam(parameters, 0.05)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        spread = {name: value.expand(number, *value.shape[1:]) for name, value in outputs.items()}
        value = task.loss(spread, targets)[loss]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    spread = {name: value.detach().expand(number, *value.shape[1:]) for name, value in outputs.items()}
    preds = task.predict(spread)
    if loss == "gaussian":
        assert preds["track_eta_error"][0].item() == pytest.approx(0.3, rel=0.05)
        inverse = 1 / targets["particle_pt"]
        expected = inverse.std() * preds["track_pt"][0] ** 2
        assert preds["track_pt_error"][0].item() == pytest.approx(expected.item(), rel=0.05)
    else:
        for end, level in (("_q16", 0.16), ("", 0.5), ("_q84", 0.84)):
            assert preds[f"track_eta{end}"][0].item() == pytest.approx(stats.norm.ppf(level, 1, 0.3), abs=0.03)
            expected = stats.lognorm.ppf(level, 0.2, scale=10)
            assert preds[f"track_pt{end}"][0].item() == pytest.approx(expected, rel=0.03)
    metrics = task.metrics(preds, targets)
    if loss == "gaussian":
        assert metrics["eta_pull_sigma68"].item() == pytest.approx(1, abs=0.06)
        assert abs(metrics["eta_pull_mean"].item()) < 0.05
    else:
        assert metrics["pt_below_q16"].item() == pytest.approx(0.16, abs=0.02)
        assert metrics["pt_below_q84"].item() == pytest.approx(0.84, abs=0.02)


@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_gradients_are_right_and_finite_far_away(loss: str, targets: dict) -> None:
    outputs, task = learned(4, 1 if loss == "gaussian" else 2), make(loss)
    double = {name: value.double() if value.is_floating_point() else value for name, value in targets.items()}
    tensors = [value.requires_grad_() for value in outputs.values()]
    assert torch.autograd.gradcheck(
        lambda *given: task.loss(dict(zip(outputs, given, strict=True)), double)[loss], tensors
    )
    far = {name: (1e4 * value).detach().float().requires_grad_() for name, value in outputs.items()}
    far["track_shape"] = torch.full_like(far["track_shape"], 40.0).requires_grad_()
    task.loss(far, targets)[loss].backward()
    assert all(value.grad.isfinite().all() for value in far.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "quantile", "quantiles": []}, r"symmetric about 0.5 and with it, got \[\]"),
        ({"loss": "quantile", "quantiles": [0.16, 0.84]}, r"symmetric about 0.5 and with it, got \[0.16, 0.84\]"),
        ({"loss": "quantile", "quantiles": [0.1, 0.5, 0.84]}, "symmetric about 0.5"),
        ({"loss": "quantile", "quantiles": [0.84, 0.5, 0.16]}, "ascending between 0 and 1"),
        ({"loss": "quantile", "quantiles": [0.0, 0.5, 1.0]}, "ascending between 0 and 1"),
        ({"loss": "l1", "quantiles": [0.16, 0.5, 0.84]}, "quantiles are learned with loss: quantile, got loss: l1"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_pooled_head_learns_them_too(x: dict, targets: dict) -> None:
    arguments = {"input_object": "query", "output_object": "track", "target_object": "particle", "dim": 8}
    for loss, extra in (("gaussian", 1), ("quantile", 2)):
        task = WeightedPoolingObjectHitRegressionTask(
            "parameter_regression", "hit", hit_fields=["x", "y", "z"], fields=FIELDS, loss_weight=1.0, loss=loss,
            **arguments, **SPACE,
        )  # fmt: skip
        logits = torch.randn(4, 2, 15)
        outputs = task(x, {"mask": {"track_hit_logit": logits}})
        assert outputs["track_shape"].shape == (4, 2, 4, extra)
        assert list(outputs) == task.outputs
        assert not outputs["track_shape"].any()  # at first the same for all
        task.loss(outputs, targets)[loss].backward()
        assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in task.parameters())
        assert [name.removeprefix("track_") for name in task.predict(outputs)] == task.predicted
