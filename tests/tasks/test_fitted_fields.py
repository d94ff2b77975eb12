"""Fields that are functions of the results of a fit, and corrections to a fit."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hitpool.fits import FirstHit, HelixFit
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.tasks.fitted_fields import FittedFields
from hitpool.tasks.target_space import TargetSpace

FIELDS = ["eta", "phi", "pt", "qpt", "theta", "qop", "d0", "z0", "beta"]


def fitted(fields: list[str]) -> FittedFields:
    return FittedFields(fields, TargetSpace(fields, ["pt"] if "pt" in fields else [], ["phi"]))


def make_task(fit: torch.nn.Module, fields: list[str]) -> WeightedPoolingObjectHitRegressionTask:
    return WeightedPoolingObjectHitRegressionTask(
        "parameter_regression", "hit", input_object="query", output_object="track", target_object="particle",
        hit_fields=["x", "y", "z"], fields=fields, loss_weight=1.0, dim=8, track_fit=fit,
        periodic_fields=["phi"] if "phi" in fields else [],
    )  # fmt: skip


def test_a_fit_gives_all_fields_that_follow_from_it() -> None:
    values = [-1.1, 2.0, 0.05, 2e-4, -0.07]
    fit = {name: torch.tensor([value]) for name, value in zip(("eta", "phi", "qpt", "d0", "z0"), values, strict=True)}
    learned = fitted(FIELDS).added(fit, torch.zeros(1, len(FIELDS)))[0]
    theta = 2 * math.atan(math.exp(1.1))
    momentum = 20.0 / math.sin(theta)
    expected = [-1.1, 2.0, 1 / 20.0, 0.05, theta, 1 / momentum, 0.2, -70.0, 0.0]  # 1 / pT is learned; mm
    np.testing.assert_allclose(learned.numpy(), expected, rtol=1e-5)


def test_errors_are_propagated_with_their_correlation() -> None:
    """Against a sample of the distribution."""
    fields = ["eta", "phi", "qpt", "theta", "qop", "pt"]
    mean, sigma, rho = np.array([-0.05, 1.2, 0.3]), np.array([4e-4, 3e-3, 1e-3]), [0.6, 0.2, -0.3]
    values = {"qpt": mean[0], "eta": mean[1], "phi": mean[2], "pt": 20.0}
    values |= {"theta": 2 * math.atan(math.exp(-mean[1])), "qop": mean[0] / math.cosh(mean[1])}
    found = fitted(fields).errors(
        {name: torch.tensor([[value]]).double() for name, value in values.items()},
        torch.from_numpy(sigma)[None, None],
        torch.tensor([[rho]]).double(),
    )
    covariance = np.outer(sigma, sigma) * [[1, rho[0], rho[1]], [rho[0], 1, rho[2]], [rho[1], rho[2], 1]]
    qpt, eta, phi = np.random.default_rng(1).multivariate_normal(mean, covariance, 400_000).T
    sample = {"eta": eta, "phi": phi, "qpt": qpt, "pt": 1 / abs(qpt), "qop": qpt / np.cosh(eta)}
    sample["theta"] = 2 * np.arctan(np.exp(-eta))
    for name, drawn in sample.items():
        assert found[f"{name}_error"].item() == pytest.approx(drawn.std(), rel=0.01), name


@pytest.mark.parametrize("fields", [["eta", "phi", "theta"], ["eta", "phi", "beta", "pt"], ["phi"]])
def test_the_head_corrects_the_first_hit(x: dict, fields: list[str]) -> None:
    task = make_task(FirstHit(), fields)
    logits = torch.randn(4, 2, 15)
    outputs = {"mask": {"track_hit_logit": logits}}
    hits = torch.stack([x["inputs"][f"hit_{name}"] for name in "xyz"], dim=-1)
    first = FirstHit()(hits, logits, x["hit_valid"])
    first["theta"] = 2 * torch.atan(torch.exp(-first["eta"]))
    preds = task.predict(task(x, outputs))
    for field in fields:
        expected = first.get(field, torch.zeros(4, 2))
        torch.testing.assert_close(preds[f"track_{field}"], expected, atol=1e-6, rtol=1e-6)


def test_training_learns_what_the_first_hit_lacks(x: dict) -> None:
    task = make_task(FirstHit(), ["eta"])
    logits = 9 * torch.randn(4, 2, 15)
    first = make_task(FirstHit(), ["eta"]).predict(task(x, {"mask": {"track_hit_logit": logits}}))["track_eta"].detach()
    targets: dict[str, Tensor] = {"particle_valid": torch.ones(4, 2, dtype=torch.bool)}
    targets["particle_eta"] = first + 0.4 * x["query_embed"][..., 0]
    optimizer, values = torch.optim.Adam(task.parameters(), 0.01), []
    for _ in range(150):
        loss = task.loss(task(x, {"mask": {"track_hit_logit": logits}}), targets)["smooth_l1"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.1 * values[0]


def test_helix_gives_impact_parameters_in_millimetres(x: dict) -> None:
    """A straight line at x = 2 mm, along y: d0 is -2 mm for phi = pi / 2."""
    task = make_task(HelixFit(hit_fields=["z"], field=2.0), ["d0", "z0", "theta", "qop", "phi"])
    s = torch.linspace(0.1, 1.0, 15)
    inputs = {"hit_x": torch.full_like(s, 0.002), "hit_y": s, "hit_z": 0.03 + 0.5 * s}
    x["inputs"] = {name: value.expand(4, 15) for name, value in inputs.items()}
    x["hit_valid"] = torch.ones(4, 15, dtype=torch.bool)
    preds = task.predict(task(x, {"mask": {"track_hit_logit": torch.full((4, 2, 15), 9.0)}}))
    phi = preds["track_phi"][0, 0].item()
    assert phi == pytest.approx(math.pi / 2, abs=1e-3)
    assert preds["track_d0"][0, 0].item() == pytest.approx(-2.0, abs=0.02)
    assert preds["track_z0"][0, 0].item() == pytest.approx(30.0, abs=0.1)
    assert preds["track_theta"][0, 0].item() == pytest.approx(math.atan2(1.0, 0.5), abs=2e-3)
    assert preds["track_qop"][0, 0].item() == pytest.approx(0.0, abs=1e-3)
