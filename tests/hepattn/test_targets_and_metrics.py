"""Targets that hepattn has and hitpool refuses, and metrics by hepattn's names."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hitpool.hepattn.tasks import WeightedPoolingObjectHitRegressionTask

REGRESSION = "parameter_regression"
PT = "particle_truthMuon_pt"


@pytest.fixture
def spoiled(batch: Callable) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A batch in which the first particle of the first event has a pT below 0, and another one has 0."""
    inputs, targets = batch()
    targets[PT][0, 0], targets[PT][1, 1] = -7.0, 0.0
    return inputs, targets


@pytest.mark.filterwarnings("ignore:task parameter_regression. 0 or below")
@pytest.mark.parametrize("cost_weight", [0.0, 1.0])
def test_training_goes_on_with_targets_below_zero(
    kind: str, build: Callable, spoiled: tuple, cost_weight: float
) -> None:
    model = build(kind, standardize=True, cost_weight=cost_weight, has_intermediate_loss=True)
    inputs, targets = spoiled
    outputs = model(inputs)
    losses = model.loss(outputs, dict(targets))
    terms = [term for layer in losses.values() for task in layer.values() for term in task.values()]
    assert all(term.isfinite() for term in terms)
    torch.stack([term.float() for term in terms]).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    metrics = model.metrics(model.predict(outputs), targets)["final"][REGRESSION]
    assert all(value.isfinite() for value in metrics.values())


@pytest.mark.filterwarnings("ignore:task parameter_regression. 0 or below")
def test_left_out_particles_change_nothing_but_their_own_field(build: Callable, spoiled: tuple) -> None:
    """Against the loss of each particle alone: the mean over all that can be learned, 4 fields or 3."""
    model, (inputs, targets) = build("upstream"), spoiled
    task = model.tasks[2]
    outputs = {"track_regr": model(inputs)["final"][REGRESSION]["track_regr"]}
    total, count = 0.0, 0
    for event, slot in targets["particle_valid"].nonzero().tolist():
        known = [k for k, field in enumerate(task.fields) if targets[f"particle_{field}"][event, slot] > 0 or k != 2]
        for k in known:
            true = targets[f"particle_{task.fields[k]}"][event, slot]
            difference = outputs["track_regr"][event, slot, k] - (1 / true if k == 2 else true)
            total += torch.nn.functional.smooth_l1_loss(difference, torch.tensor(0.0)).item()
            count += 1
    loss = task.loss(outputs, dict(targets))["smooth_l1"]
    assert count == 4 * targets["particle_valid"].sum() - 2
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


def test_it_is_said_once_with_the_count(build: Callable, spoiled: tuple) -> None:
    model, (inputs, targets) = build("upstream"), spoiled
    number = int(targets["particle_valid"].sum())
    with pytest.warns(UserWarning, match=f"is the target truthMuon_pt of 2 of {number} particles in a batch"):
        model.loss(model(inputs), dict(targets))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.loss(model(inputs), dict(targets))


def test_a_target_that_is_not_finite_stays_an_error(build: Callable, spoiled: tuple) -> None:
    model, (inputs, targets) = build("upstream"), spoiled
    targets[PT][0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"truthMuon_pt must be finite.* got inf in event 0, slot 0"):
        model.loss(model(inputs), dict(targets))


@pytest.mark.filterwarnings("ignore:task parameter_regression. 0 or below")
def test_mean_and_spread_are_those_of_what_can_be_learned(build: Callable, spoiled: tuple) -> None:
    model, (inputs, targets) = build("upstream", standardize=True), spoiled
    model.loss(model(inputs), dict(targets))
    valid = targets["particle_valid"]
    pt, eta = targets[PT][valid], targets["particle_truthMuon_eta"][valid]
    space = model.tasks[2].space
    inverse = 1 / pt[pt > 0].double()
    assert space.mean[2].item() == pytest.approx(inverse.mean().item(), rel=1e-6)
    assert space.spread[2].item() == pytest.approx(inverse.std(correction=0).item(), rel=1e-5)
    assert space.mean[0].item() == pytest.approx(eta.double().mean().item(), rel=1e-6)


def test_metrics_have_the_names_and_formulas_of_hepattn(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(kind), batch()
    outputs = model(inputs)
    model.loss(outputs, targets)
    preds = model.predict(outputs)
    metrics = model.metrics(preds, targets)["final"][REGRESSION]
    valid = targets["particle_valid"]
    for field in model.tasks[2].fields:
        true = targets[f"particle_{field}"][valid].double()
        error = preds["final"][REGRESSION][f"track_{field}"][valid].double() - true
        expected = {
            "abs_res": error.abs().mean(),
            "abs_norm_res": (error / true).abs().mean(),
            "rmse": (error**2).mean() ** 0.5,
            "mean_res": (error / true).mean(),
            "std_res": (error / true).std(),
        }
        for name, value in expected.items():
            assert metrics[f"{field}_{name}"].item() == pytest.approx(value.item(), rel=1e-4), (field, name)
    assert {"truthMuon_pt_res_sigma68", "truthMuon_pt_rel_res_sigma68"} <= metrics.keys()


def test_the_wide_head_is_that_of_the_fork() -> None:
    task = WeightedPoolingObjectHitRegressionTask(
        "parameter_regression", "hit", input_object="query", output_object="track", target_object="particle",
        hit_fields=["x"] * 23, fields=["eta", "phi", "pt"], loss_weight=1.0, dim=32, activation="swiglu",
        regression_hidden_dim=144, regression_num_layers=3, dropout=0.1,
    )  # fmt: skip
    shapes = {name: tuple(value.shape) for name, value in task.state_dict().items() if "weight" in name}
    assert shapes == {
        "raw_hit_net.0.weight": (92, 23),
        "raw_hit_net.2.weight": (32, 46),
        "encoded_hit_net.0.weight": (128, 32),
        "encoded_hit_net.2.weight": (32, 64),
        "regression_head.0.weight": (144, 288),
        "regression_head.2.weight": (144,),
        "regression_head.4.weight": (144, 144),
        "regression_head.6.weight": (144,),
        "regression_head.8.weight": (3, 144),
    }
    kinds = [type(module).__name__ for module in task.regression_head]
    assert kinds == ["Linear", "ReLU", "LayerNorm", "Dropout"] * 2 + ["Linear"]
