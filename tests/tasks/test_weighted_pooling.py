import copy

import pytest
import torch
from torch import Tensor, nn

from hitpool.tasks import ObjectHitMaskTask, WeightedPoolingObjectHitRegressionTask

FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
HIT_FIELDS = ["x", "y", "z"]


def make(**options: object) -> WeightedPoolingObjectHitRegressionTask:
    torch.manual_seed(2)
    arguments = {
        "name": "parameter_regression",
        "input_hit": "hit",
        "input_object": "query",
        "output_object": "track",
        "target_object": "particle",
        "hit_fields": HIT_FIELDS,
        "fields": FIELDS,
        "loss_weight": 1.0,
        "dim": 8,
        "inverse_fields": ["truthMuon_pt"],
    }
    return WeightedPoolingObjectHitRegressionTask(**(arguments | options))


@pytest.fixture
def mask_task() -> ObjectHitMaskTask:
    torch.manual_seed(1)
    names = {"input_hit": "hit", "input_object": "query", "output_object": "track", "target_object": "particle"}
    terms = {"mask_bce": 1.0}
    return ObjectHitMaskTask("track_hit_valid", **names, losses=terms, costs=terms, dim=8)


@pytest.fixture
def outputs(mask_task: ObjectHitMaskTask, x: dict) -> dict:
    return {"track_valid": {}, "track_hit_valid": mask_task(x)}


def expected_features(
    task: WeightedPoolingObjectHitRegressionTask, x: dict, logits: Tensor, threshold: float
) -> Tensor:
    """Input of the head by loops over events and tracks."""
    raw = task.raw_hit_net(torch.stack([x["inputs"][f"hit_{name}"] for name in HIT_FIELDS], dim=-1))
    encoded = task.encoded_hit_net(x["hit_embed"])
    events, tracks, _ = logits.shape
    rows = []
    for b in range(events):
        for n in range(tracks):
            p = logits[b, n].sigmoid()
            selected = (p >= threshold) & x["hit_valid"][b]
            parts = [x["query_embed"][b, n]]
            for features in (raw[b][selected], encoded[b][selected]):
                weighted = (p[selected].unsqueeze(-1) * features).sum(0)
                mean = weighted / p[selected].sum().clamp(min=1e-8)
                zero = torch.zeros_like(mean)
                extrema = [features.amax(0), features.amin(0)] if len(features) else [zero, zero]
                parts += [mean, weighted, *extrema]
            rows.append(torch.cat(parts))
    return torch.stack(rows).view(events, tracks, -1)


@pytest.mark.parametrize("options", [{}, {"pooled_dim": 5}, {"assignment_threshold": 0.6}])
def test_equals_loops_over_events_and_tracks(x: dict, outputs: dict, options: dict) -> None:
    task = make(**options)
    logits = outputs["track_hit_valid"]["track_hit_logit"]
    features = expected_features(task, x, logits, options.get("assignment_threshold", 0.1))
    assert features.shape[-1] == 8 + 8 * options.get("pooled_dim", 4)
    torch.testing.assert_close(task(x, outputs)["track_regr"], task.regression_head(features), atol=1e-5, rtol=1e-5)


def test_defaults_are_the_original_network() -> None:
    task = make()
    shapes = {name: tuple(p.shape) for name, p in task.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "raw_hit_net.0.weight": (6, 3),
        "raw_hit_net.2.weight": (4, 6),
        "encoded_hit_net.0.weight": (16, 8),
        "encoded_hit_net.2.weight": (4, 16),
        "regression_head.0.weight": (4, 40),
    }
    assert task.assignment_threshold == 0.1
    assert task.loss_name == "smooth_l1"
    assert task.space.spread.tolist() == [1.0] * 4
    assert task.space.mean.tolist() == [0.0] * 4


def test_head_options() -> None:
    task = make(regression_num_layers=3, dropout=0.1, layer_norm=True)
    norm_linear = [nn.LayerNorm, nn.Linear]
    between = [nn.SiLU, nn.Dropout]
    assert [type(m) for m in task.regression_head] == [
        *norm_linear,
        *between,
        *norm_linear,
        *between,
        *norm_linear,
    ]
    linear = [m.out_features for m in task.regression_head if isinstance(m, nn.Linear)]
    assert linear == [20, 20, 4]
    wide = make(regression_num_layers=2, regression_hidden_dim=7).regression_head
    assert [m.out_features for m in wide if isinstance(m, nn.Linear)] == [7, 4]


def test_pooled_dim_is_half_of_dim_whatever_the_head_is() -> None:
    head = {"regression_hidden_dim": 36, "regression_num_layers": 3, "dropout": 0.1}
    assert make(**head).regression_head.input_size == 40
    task = make(**head, pooled_dim=8)
    linear = [(m.in_features, m.out_features) for m in task.regression_head if isinstance(m, nn.Linear)]
    assert linear == [(72, 36), (36, 36), (36, 4)]
    assert (task.raw_hit_net.output_size, task.encoded_hit_net.output_size) == (8, 8)


def test_missing_logits_or_fields_are_named(x: dict, outputs: dict) -> None:
    with pytest.raises(
        ValueError, match=r"no track_hit_logit. An ObjectHitMaskTask with output_object: track.*must come before"
    ):
        make()(x)
    with pytest.raises(ValueError, match=r"expected raw fields in x\['inputs'\], and no key_valid, got \['hit_embed'"):
        make()({name: value for name, value in x.items() if name != "inputs"}, outputs)
    with pytest.raises(KeyError, match=r"hit has no fields \['time'\]; add them to data.inputs.hit"):
        make(hit_fields=["x", "time"])(x, outputs)


def test_gradients_reach_the_mask_task_through_the_weights(
    mask_task: ObjectHitMaskTask, x: dict, targets: dict
) -> None:
    task = make()
    logits = mask_task(x)
    loss = task.loss(task(x, {"track_hit_valid": logits}), targets)["smooth_l1"]
    (grad,) = torch.autograd.grad(loss, logits["track_hit_logit"], retain_graph=True)
    selected = (logits["track_hit_logit"].sigmoid() >= 0.1) & targets["particle_valid"].unsqueeze(-1)
    assert (grad[selected & x["hit_valid"].unsqueeze(1)] != 0).float().mean() > 0.9
    assert not grad[~selected].any()
    loss.backward()
    assert all(p.grad.any() for p in mask_task.object_net.parameters())


def test_gradients_equal_those_of_the_loops(mask_task: ObjectHitMaskTask, x: dict, targets: dict) -> None:
    task = make()
    x["query_embed"].requires_grad_()
    x["hit_embed"].requires_grad_()
    logits = mask_task(x)["track_hit_logit"]
    inputs = [logits, x["query_embed"], x["hit_embed"], *task.parameters()]
    ours = task(x, {"track_hit_valid": {"track_hit_logit": logits}})
    loops = {"track_regr": task.regression_head(expected_features(task, x, logits, 0.1))}
    losses = [task.loss(out, targets)["smooth_l1"] for out in (ours, loops)]
    grads = [torch.autograd.grad(loss, inputs, retain_graph=True) for loss in losses]
    for one, two in zip(*grads, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_no_selected_hit_is_finite(x: dict, targets: dict) -> None:
    task = make()
    logits = torch.full((4, 2, 15), -50.0, requires_grad=True)
    out = task(x, {"mask": {"track_hit_logit": logits}})
    query_only = torch.cat([x["query_embed"], torch.zeros(4, 2, 32)], dim=-1)
    torch.testing.assert_close(out["track_regr"], task.regression_head(query_only))
    loss = task.loss(out, targets)["smooth_l1"]
    loss.backward()
    assert loss.isfinite()
    assert not logits.grad.any()
    assert all(p.grad.isfinite().all() for p in task.parameters())


def test_raw_coordinates_keep_their_precision_under_autocast(x: dict, outputs: dict) -> None:
    task = make()
    x["inputs"] = {name: value + 6.0 for name, value in x["inputs"].items()}
    moved = x | {"inputs": {name: value + 1e-3 for name, value in x["inputs"].items()}}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, two = task(x, outputs)["track_regr"], task(moved, outputs)["track_regr"]
    assert one.dtype == torch.float32
    exact = task(moved, outputs)["track_regr"] - task(x, outputs)["track_regr"]
    torch.testing.assert_close(two - one, exact, atol=2e-5, rtol=0.05)
    assert exact[0].abs().max() > 1e-4


def test_logits_of_bfloat16_are_accepted(x: dict, outputs: dict) -> None:
    task = make()
    rounded = outputs["track_hit_valid"]["track_hit_logit"].bfloat16()
    mixed = task(x, {"mask": {"track_hit_logit": rounded}})["track_regr"]
    torch.testing.assert_close(mixed, task(x, {"mask": {"track_hit_logit": rounded.float()}})["track_regr"])


def test_state_survives_copies_and_strict_loading(x: dict, outputs: dict) -> None:
    task = make(standardize=True, sign_fields=["truthMuon_q"])
    task.fit_standardization({field: torch.tensor([1.0, 2.0, 4.0]) for field in FIELDS})
    expected = task.predict(task(x, outputs))
    fresh = make(standardize=True, sign_fields=["truthMuon_q"])
    fresh.load_state_dict(task.state_dict(), strict=True)
    for other in (fresh, copy.deepcopy(task)):
        torch.testing.assert_close(other.predict(other(x, outputs)), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hit_fields": []}, "hit_fields is empty"),
        ({"assignment_threshold": 1.5}, "assignment_threshold must be from 0 to 1, got 1.5"),
        ({"regression_num_layers": 0}, "regression_num_layers must be at least 1, got 0"),
        ({"dim": 7}, "dim must be even, got 7"),
        ({"inverse_fields": ["pt"]}, r"inverse_fields names \['pt'\]"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
