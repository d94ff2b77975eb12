import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hitpool.tasks import ObjectRegressionTask

FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]


def make(**options: object) -> ObjectRegressionTask:
    arguments = {"fields": FIELDS, "loss_weight": 1.0, "dim": 8} | options
    return ObjectRegressionTask("parameter_regression", "query", "track", "particle", **arguments)


def truth(targets: dict[str, Tensor]) -> np.ndarray:
    """Targets of the four particles [P, K]."""
    valid = targets["particle_valid"].numpy()
    return np.stack([targets[f"particle_{field}"].numpy()[valid] for field in FIELDS], axis=-1)


def element(loss: str, d: np.ndarray) -> np.ndarray:
    if loss == "smooth_l1":
        return np.where(np.abs(d) < 1, d**2 / 2, np.abs(d) - 0.5)
    if loss == "cauchy":
        return np.log(1 + d**2)
    return np.abs(d) if loss == "l1" else d**2


@pytest.mark.parametrize("loss", ["cauchy", "l1", "l2", "smooth_l1"])
def test_loss_is_the_mean_over_fields_and_particles_in_the_learned_space(targets: dict, loss: str) -> None:
    standardize = {"truthMuon_pt": (0.05, 0.04), "truthMuon_phi": (0.1, 1.8)}
    task = make(
        loss=loss,
        loss_weight=2.5,
        inverse_fields=["truthMuon_pt"],
        periodic_fields=["truthMuon_phi"],
        standardize=standardize,
    )
    regr = torch.randn(4, 2, 4, requires_grad=True)
    losses = task.loss({"track_regr": regr}, targets)
    pred, true = regr.detach().numpy()[targets["particle_valid"].numpy()], truth(targets)
    d = np.empty_like(pred)
    d[:, 0] = pred[:, 0] - true[:, 0]
    turn = pred[:, 1] * 1.8 + 0.1 - true[:, 1]
    d[:, 1] = np.arctan2(np.sin(turn), np.cos(turn)) / 1.8
    d[:, 2] = pred[:, 2] - (1 / true[:, 2] - 0.05) / 0.04
    d[:, 3] = pred[:, 3] - true[:, 3]
    assert list(losses) == [loss]
    assert losses[loss].item() == pytest.approx(2.5 * element(loss, d).mean(), rel=1e-4)
    losses[loss].backward()
    assert regr.grad.isfinite().all()
    assert not regr.grad[~targets["particle_valid"]].any()


def test_sign_fields_are_learned_by_cross_entropy_and_predicted_as_signs(targets: dict) -> None:
    task = make(fields=["truthMuon_q"], sign_fields=["truthMuon_q"])
    logit = torch.tensor([[2.0, -1.0], [-0.5, 9.0], [-3.0, 9.0], [9.0, 9.0]])
    outputs = {"track_regr": logit.unsqueeze(-1)}
    expected = sum(math.log1p(math.exp(-margin)) for margin in (2.0, 1.0, -0.5, 3.0)) / 4
    assert task.loss(outputs, targets)["bce"].item() == pytest.approx(expected, rel=1e-5)
    preds = task.predict(outputs)
    assert preds["track_truthMuon_q"][:3, 0].tolist() == [1.0, -1.0, -1.0]
    assert task.metrics(preds, targets)["truthMuon_q_accuracy"].item() == pytest.approx(3 / 4)


def test_no_particle_gives_a_zero_with_a_graph_and_no_metrics(targets: dict, x: dict) -> None:
    task = make(inverse_fields=["truthMuon_pt"])
    nothing = {k: torch.full_like(v, torch.nan) if "truth" in k else v for k, v in targets.items()}
    nothing["particle_valid"] = torch.zeros(4, 2, dtype=torch.bool)
    outputs = task(x)
    loss = task.loss(outputs, nothing)["smooth_l1"]
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in task.parameters())
    assert task.metrics(task.predict(outputs), nothing) == {}


@pytest.mark.parametrize("value", [0.0, -3.0, math.nan, math.inf])
def test_bad_target_names_field_value_and_event(targets: dict, value: float) -> None:
    task = make(inverse_fields=["truthMuon_pt"])
    targets["particle_truthMuon_pt"][2, 0] = value
    with pytest.raises(
        ValueError,
        match=rf"target truthMuon_pt must be finite and above 0.*got {value:g} in event 33, slot 0",
    ):
        task.loss({"track_regr": torch.zeros(4, 2, 4)}, targets)


def test_zero_is_a_fine_target_of_other_fields(targets: dict) -> None:
    targets["particle_truthMuon_eta"][2, 0] = 0.0
    loss = make(inverse_fields=["truthMuon_pt"]).loss({"track_regr": torch.zeros(4, 2, 4)}, targets)
    assert loss["smooth_l1"].isfinite()


def test_missing_target_is_named(targets: dict) -> None:
    del targets["particle_truthMuon_q"]
    with pytest.raises(KeyError, match=r"no targets \['truthMuon_q'\]; add them to data.targets.particle"):
        make().loss({"track_regr": torch.zeros(4, 2, 4)}, targets)


def test_standardize_true_needs_to_be_fitted(targets: dict, x: dict) -> None:
    task = make(standardize=True, cost_weight=1.0)
    for use in (task.loss, task.cost, lambda outputs, _: task.predict(outputs)):
        with pytest.raises(
            ValueError, match=r"task parameter_regression: standardize is true, and mean and spread .* train"
        ):
            use(task(x), targets)
    task.fit_standardization({field: torch.tensor([1.0, 2.0]) for field in FIELDS})
    assert task.loss(task(x), targets)["smooth_l1"].isfinite()
    assert all(cost.isfinite().all() for cost in task.cost(task(x), targets).values())
    assert all(value.isfinite().all() for value in task.predict(task(x)).values())
    assert task.space.mean.tolist() == [1.5] * 4


def test_predictions_are_in_physical_units(targets: dict) -> None:
    task = make(inverse_fields=["truthMuon_pt"], periodic_fields=["truthMuon_phi"])
    regr = torch.tensor([1.5, 4.0, 1 / 40, 0.7]).expand(1, 2, 4)
    preds = task.predict({"track_regr": regr}, query_mask=None)
    values = {name: value[0, 0].item() for name, value in preds.items()}
    assert values == {
        "track_truthMuon_eta": pytest.approx(1.5),
        "track_truthMuon_phi": pytest.approx(4.0 - 2 * math.pi),
        "track_truthMuon_pt": pytest.approx(40.0),
        "track_truthMuon_q": pytest.approx(0.7),
    }


def test_metrics_equal_numpy() -> None:
    rng = np.random.default_rng(0)
    shape = (300, 2)
    valid = rng.random(shape) < 0.7
    true = {
        "eta": rng.normal(0, 1, shape),
        "phi": rng.uniform(-np.pi, np.pi, shape),
        "pt": rng.uniform(5, 200, shape),
    }
    true["q"] = rng.choice([-1.0, 1.0], shape)
    pred = {
        "eta": true["eta"] + rng.normal(0.02, 0.1, shape),
        "phi": true["phi"] + rng.normal(0, 0.2, shape),
        "pt": true["pt"] * (1 + rng.normal(0.05, 0.2, shape)),
        "q": true["q"] * rng.normal(1, 1, shape),
    }
    pred["phi"] = np.angle(np.exp(1j * pred["phi"]))
    targets = {
        f"particle_truthMuon_{k}": torch.tensor(np.where(valid, v, np.nan), dtype=torch.float32)
        for k, v in true.items()
    }
    targets["particle_valid"] = torch.tensor(valid)
    preds = {f"track_truthMuon_{k}": torch.tensor(v, dtype=torch.float32) for k, v in pred.items()}
    metrics = make().metrics(preds, targets)
    expected = {}
    for name in ("eta", "phi", "pt"):
        residual = (pred[name] - true[name])[valid]
        if name == "phi":
            residual = np.angle(np.exp(1j * residual))
        residuals = {f"truthMuon_{name}_res": residual}
        if name == "pt":
            residuals["truthMuon_pt_rel_res"] = residual / true["pt"][valid]
        for label, values in residuals.items():
            low, high = np.quantile(values, [0.15865, 0.84135])
            expected[f"{label}_mean"] = values.mean()
            expected[f"{label}_sigma68"] = (high - low) / 2
            expected[f"{label}_rms"] = np.sqrt((values**2).mean())
    expected["truthMuon_q_accuracy"] = (np.sign(pred["q"]) == true["q"])[valid].mean()
    assert {name: value.item() for name, value in metrics.items()} == {
        name: pytest.approx(value, rel=1e-3, abs=1e-5) for name, value in expected.items()
    }
    assert metrics["truthMuon_phi_res_rms"].item() == pytest.approx(0.2, rel=0.1)


def test_a_prediction_of_nan_is_a_wrong_charge_and_no_width(targets: dict) -> None:
    valid = targets["particle_valid"]
    preds = {f"track_{field}": targets[f"particle_{field}"].clone() for field in make().fields}
    event, slot = valid.nonzero()[0]
    targets["particle_truthMuon_q"][event, slot] = -1.0
    for values in preds.values():
        values[event, slot] = torch.nan
    metrics = make().metrics(preds, targets)
    assert metrics["truthMuon_q_accuracy"].item() == pytest.approx(1 - 1 / valid.sum().item())
    assert metrics["truthMuon_eta_res_sigma68"].isnan()


def test_runs_at_the_end_only_and_has_no_cost(x: dict, targets: dict) -> None:
    assert not make().should_run_at_layer(0)
    assert make(has_intermediate_loss=True).should_run_at_layer(0)
    assert make().cost(make()(x), targets) == {}


def test_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="loss huber does not exist"):
        make(loss="huber")


def test_predictions_at_an_end_of_their_range_are_counted(targets: dict) -> None:
    task = make(inverse_fields=["truthMuon_pt"], prediction_range={"truthMuon_pt": (8.0, 100.0)})
    preds = {f"track_{field}": targets[f"particle_{field}"].clone() for field in FIELDS}
    regr = torch.zeros(4, 2, 4)
    regr[..., 2] = torch.tensor([[0.1, 0.5], [1e-3, 0.02], [0.05, 0.02], [1.0, 1.0]])  # 10, 8, 100, 20 GeV of particles
    preds["track_truthMuon_pt"] = task.predict({"track_regr": regr})["track_truthMuon_pt"]
    metrics = task.metrics(preds, targets)
    assert metrics["truthMuon_pt_limited"].item() == pytest.approx(2 / 4)
    assert "truthMuon_eta_limited" not in metrics
