"""The tasks inside models of hepattn 0.2.0 and of its muon fork."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

LAYERS = ["layer_0", "layer_1", "final"]
REGRESSION = "parameter_regression"


def total(losses: dict) -> Tensor:
    values = [value for layer in losses.values() for task in layer.values() for value in task.values()]
    assert all(value.ndim == 0 and value.requires_grad and value.isfinite() for value in values)
    return torch.stack([value.float() for value in values]).sum()


def permuted(inputs: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """The hits of each event in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(inputs["hit_valid"].shape, generator=generator).argsort(-1)
    return {name: value.gather(1, order) for name, value in inputs.items()}


def assert_same_tracks(model: nn.Module, one: dict, two: dict) -> None:
    for layer in LAYERS:
        for task in (task for task in one[layer] if task in ("track_valid", REGRESSION)):
            torch.testing.assert_close(two[layer][task], one[layer][task], atol=2e-5, rtol=1e-4)
    preds = [model.predict(outputs)["final"][REGRESSION] for outputs in (one, two)]
    torch.testing.assert_close(*preds, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("intermediate", [False, True])
def test_training_lowers_the_loss(kind: str, build: Callable, batch: Callable, intermediate: bool) -> None:
    model, (inputs, targets) = build(kind, has_intermediate_loss=intermediate), batch()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    values = []
    for _ in range(40):
        loss = total(model.loss(model(inputs), dict(targets)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.7 * values[0]


@pytest.mark.parametrize("intermediate", [False, True])
def test_order_of_the_hits_changes_no_track(kind: str, build: Callable, batch: Callable, intermediate: bool) -> None:
    model, (inputs, _) = build(kind, has_intermediate_loss=intermediate), batch()
    with torch.no_grad():
        outputs = model(inputs)
        for seed in range(3):
            assert_same_tracks(model, outputs, model(permuted(inputs, seed)))


def test_sorter_changes_no_track(build: Callable, batch: Callable) -> None:
    inputs, targets = batch()
    one, two = (build(kind, has_intermediate_loss=True) for kind in ("upstream", "upstream, sorter"))
    with torch.no_grad():
        assert_same_tracks(one, one(inputs), two(inputs))
    losses = [model.loss(model(inputs), dict(targets)) for model in (one, two)]
    torch.testing.assert_close(*losses)


def test_a_missing_reorder_would_be_found(build: Callable, batch: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (inputs, _) = build("upstream, sorter"), batch()
    monkeypatch.setattr("hitpool.hepattn.tasks.in_order", lambda x, *args: x["inputs"])
    with torch.no_grad(), pytest.raises(AssertionError, match="not close"):
        assert_same_tracks(model, model(inputs), model(permuted(inputs)))


def test_what_is_written_and_logged_has_the_right_form(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(kind), batch()
    outputs = model(inputs)
    losses = model.loss(outputs, targets)
    assert losses["final"][REGRESSION].keys() == {"smooth_l1"}
    preds = model.predict(outputs)
    assert list(preds["final"][REGRESSION]) == [f"track_{name}" for name in model.tasks[2].fields]
    for task in model.tasks:
        assert task.outputs
        for tensors in (outputs["final"][task.name], preds["final"][task.name]):
            assert all(isinstance(value, Tensor) and value.shape[:2] == (5, 3) for value in tensors.values())
        assert set(task.outputs) <= outputs["final"][task.name].keys()
    for tasks in model.metrics(preds, targets).values():
        for metrics in tasks.values():
            assert all(value.ndim == 0 and value.isfinite() for value in metrics.values())
    pt = preds["final"][REGRESSION]["track_truthMuon_pt"]
    learned = outputs["final"][REGRESSION]["track_regr"][..., 2]
    torch.testing.assert_close(pt, 1 / learned.clamp(1e-5, 1e3))


def test_slot_belongs_to_target_after_matching(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(kind), batch()
    with torch.no_grad():
        expected, outputs = model(inputs)["final"], model(inputs)
        model.loss(outputs, targets)
    index = model.match(copy.deepcopy(expected), targets)
    event = torch.arange(5).unsqueeze(-1)
    assert (index != torch.arange(3)).any()
    for task in model.tasks:
        for name in task.outputs:
            assert torch.equal(outputs["final"][task.name][name], expected[task.name][name][event, index])


@pytest.mark.parametrize("cost_weight", [0.0, 2.0])
def test_sum_of_costs_in_place_leaves_the_outputs(
    kind: str, build: Callable, batch: Callable, cost_weight: float
) -> None:
    model, (inputs, targets) = build(kind, cost_weight=cost_weight, has_intermediate_loss=True), batch()
    with torch.no_grad():
        outputs = model(inputs)
    before = copy.deepcopy(outputs)
    if getattr(model, "sorter", None):
        model.sorter.sort_targets(targets, outputs["final"]["phi"]["order"])
    for name in LAYERS:
        model.match(outputs[name], targets)
        for task in before[name]:
            torch.testing.assert_close(outputs[name][task], before[name][task], rtol=0, atol=0)


def test_cost_is_the_loss_of_each_pair(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build("upstream", cost_weight=2.0), batch()
    task, outputs = model.tasks[2], model(inputs)["final"][REGRESSION]
    (cost,) = task.cost(outputs, targets).values()
    assert cost.shape == (5, 3, 3)
    for event, pred, true in targets["particle_valid"].unsqueeze(1).expand(-1, 3, -1).nonzero().tolist():
        pair = {name: value[event, true].view(1, 1) for name, value in targets.items() if name.startswith("particle_t")}
        pair["particle_valid"] = torch.ones(1, 1, dtype=torch.bool)
        loss = task.loss({"track_regr": outputs["track_regr"][event, pred].view(1, 1, -1)}, pair)["smooth_l1"]
        torch.testing.assert_close(cost[event, pred, true], 2 * loss)
    assert not cost[~targets["particle_valid"].unsqueeze(1).expand_as(cost)].any()


def test_mixed_precision(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(kind, has_intermediate_loss=True), batch()
    exact = total(model.loss(model(inputs), dict(targets)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(inputs)
        loss = total(model.loss(outputs, dict(targets)))
        preds = model.predict(outputs)
        model.metrics(preds, targets)
    assert outputs["final"]["track_hit_valid"]["track_hit_logit"].dtype == torch.bfloat16
    assert outputs["final"][REGRESSION]["track_regr"].dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.1)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("padding", [True, False])
def test_single_event(kind: str, build: Callable, batch: Callable, padding: bool) -> None:
    model, (inputs, targets) = build(kind), batch(events=1, padding=padding)
    outputs = model(inputs)
    total(model.loss(outputs, targets)).backward()
    assert outputs["final"][REGRESSION]["track_regr"].shape == (1, 3, 4)
    assert all(p.grad.any() for p in model.tasks[2].parameters())


@pytest.mark.parametrize("options", [{"particles": False}, {"hits": 0}, {"hits": 1}])
def test_events_without_particles_or_hits(kind: str, build: Callable, batch: Callable, options: dict) -> None:
    model, (inputs, targets) = build(kind, has_intermediate_loss=True), batch(**options)
    outputs = model(inputs)
    losses = model.loss(outputs, targets)
    if options == {"particles": False}:
        assert losses["final"][REGRESSION]["smooth_l1"].item() == 0
    total(losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert model.metrics(model.predict(outputs), targets)["final"].keys() == {task.name for task in model.tasks}


def test_no_selected_hit(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(kind, assignment_threshold=1.0), batch()
    outputs = model(inputs)
    total(model.loss(outputs, targets)).backward()
    moved = inputs | {f"hit_{name}": inputs[f"hit_{name}"] * 2 for name in ("x", "y")}
    seen = []
    model.tasks[2].regression_head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(moved)
    assert not seen[-1][..., 16:].any()


def test_copies_and_checkpoints_have_the_same_predictions(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build(kind), batch()
    state = nn.ModuleDict({"model": model}).state_dict()
    for prefix in ("model.tasks.2.", "model.decoder.tasks.2."):
        for part in ("raw_hit_net", "encoded_hit_net", "regression_head"):
            assert any(key.startswith(prefix + part) for key in state)
    fresh = build(kind, seed=7)
    nn.ModuleDict({"model": fresh}).load_state_dict(state, strict=True)
    with torch.no_grad():
        expected = model(inputs)["final"][REGRESSION]["track_regr"]
        for other in (fresh, copy.deepcopy(model)):
            assert torch.equal(other(inputs)["final"][REGRESSION]["track_regr"], expected)


@pytest.mark.parametrize(("kind", "backend"), [("upstream, sorter", "aot_eager"), ("fork", "eager")])
def test_decoder_compiles_with_the_task_inside(kind: str, backend: str, build: Callable, batch: Callable) -> None:
    torch.compiler.reset()
    model = build(kind, layers=1, has_intermediate_loss=True)
    batches = [batch(5, 18), batch(3, 11)]
    expected = [model(inputs) for inputs, _ in batches]
    model.decoder.compile(backend=backend, dynamic=True, fullgraph=True)
    for (inputs, _), layers in zip(batches, expected, strict=True):
        outputs = model(inputs)
        for layer in ("layer_0", "final"):
            torch.testing.assert_close(outputs[layer][REGRESSION], layers[layer][REGRESSION], atol=1e-5, rtol=1e-4)
    total(model.loss(outputs, batches[-1][1])).backward()
    assert all(p.grad.any() for p in model.tasks[2].parameters())


def test_queries_that_are_not_in_use_are_predicted_invalid(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build("upstream"), batch()
    query_mask = torch.arange(3).expand(5, 3) < 2
    outputs = model(inputs | {"query_mask": query_mask})
    total(model.loss(outputs, targets | {"query_mask": query_mask}))
    preds = model.predict(outputs, query_mask=query_mask)["final"]
    assert not preds["track_valid"]["track_valid"][~query_mask].any()
    assert not preds["track_hit_valid"]["track_hit_valid"][~query_mask].any()
    assert preds[REGRESSION]["track_truthMuon_pt"].isfinite().all()


def test_wrong_order_of_tasks_is_explained(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build(kind), batch()
    model.tasks = model.decoder.tasks = nn.ModuleList([model.tasks[2], model.tasks[1], model.tasks[0]])
    needed = (
        r"parameter_regression: no track_hit_logit\. An ObjectHitMaskTask with output_object: track and the input hit"
    )
    with pytest.raises(ValueError, match=needed):
        model(inputs)


@pytest.mark.parametrize("skipped", [["layer_0"], ["layer_0", "layer_1"]])
def test_layers_without_the_mask_task_are_skipped(
    build: Callable, batch: Callable, monkeypatch: pytest.MonkeyPatch, skipped: list[str]
) -> None:
    model, (inputs, targets) = build("upstream", has_intermediate_loss=True, cost_weight=1.0), batch()
    monkeypatch.setattr(model.tasks[1], "should_run_at_layer", lambda index: f"layer_{index}" not in skipped)
    outputs = model(inputs)
    losses = model.loss(outputs, targets)
    total(losses).backward()
    preds = model.predict(outputs)
    metrics = model.metrics(preds, targets)
    for layer in LAYERS:
        for results in (outputs, losses, preds, metrics):
            assert bool(results[layer][REGRESSION]) == (layer not in skipped)
    model.tasks = model.decoder.tasks = nn.ModuleList([model.tasks[0], model.tasks[2]])  # no mask task at all
    with pytest.raises(ValueError, match=r"no track_hit_logit.*outputs before it: \['track_valid'\]"):
        model(inputs)


@pytest.mark.parametrize("sanity_check", [True, False])
def test_standardize_true_learns_in_training(kind: str, build: Callable, batch: Callable, sanity_check: bool) -> None:
    model, (inputs, targets) = build(kind, standardize=True, cost_weight=1.0, has_intermediate_loss=True), batch()

    def step() -> dict:
        outputs = model(inputs)
        losses = model.loss(outputs, dict(targets))
        if model.training:
            total(losses).backward()
        preds = model.predict(outputs)
        assert all(m.isfinite() for m in model.metrics(preds, targets)["final"][REGRESSION].values())
        return preds["final"][REGRESSION]

    if sanity_check:
        model.eval()
        with torch.no_grad(), pytest.warns(UserWarning, match="those of the evaluated particles"):
            step()
    model.train()
    step()
    valid = targets["particle_valid"]
    torch.testing.assert_close(model.tasks[2].space.mean[0], targets["particle_truthMuon_eta"][valid].mean())
    other = build(kind, seed=9, standardize=True)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = model.eval().predict(model(inputs))["final"][REGRESSION]
        torch.testing.assert_close(other.eval().predict(other(inputs))["final"][REGRESSION], expected)


def test_unified_decoding_is_refused(build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build("upstream"), batch()
    x = {"inputs": inputs, "hit_valid": inputs["hit_valid"], "key_valid": inputs["hit_valid"]}
    with pytest.raises(ValueError, match="set unified_decoding: false"):
        model.tasks[2](x, outputs={"track_hit_valid": {"track_key_logit": torch.zeros(5, 3, 18)}})


def test_the_task_of_hitpool_says_which_one_to_use(kind: str, build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build(kind), batch()
    own = WeightedPoolingObjectHitRegressionTask(
        "parameter_regression",
        "hit",
        input_object="query",
        output_object="track",
        target_object="particle",
        hit_fields=["x"],
        fields=["truthMuon_eta"],
        loss_weight=1.0,
        dim=16,
    )
    model.tasks = model.decoder.tasks = nn.ModuleList([*model.tasks[:2], own])
    with pytest.raises(ValueError, match=r"use hitpool\.hepattn\.tasks\.WeightedPoolingObjectHitRegressionTask$"):
        model(inputs)


@pytest.mark.parametrize("place", ["inputs", "x"])
def test_logits_and_raw_fields_are_found_in_both_places(place: str, build: Callable, batch: Callable) -> None:
    task, (inputs, _) = build("upstream").tasks[2], batch()
    generator = torch.Generator().manual_seed(6)
    hits, queries = (torch.randn(5, count, 16, generator=generator) for count in (18, 3))
    logits = torch.randn(5, 3, 18, generator=generator)
    x = {"hit_embed": hits, "query_embed": queries, "hit_valid": inputs["hit_valid"], "key_valid": None}
    x |= {"inputs": inputs} if place == "inputs" else inputs
    expected = task(x, outputs={"attn_mask": torch.ones(1), "mask": {"track_hit_logit": logits}})["track_regr"]
    for outputs in (None, {}):
        assert torch.equal(task(x | {"track_hit_logit": logits}, outputs=outputs)["track_regr"], expected)
    stale = x | {"track_hit_logit": torch.zeros_like(logits)}
    assert torch.equal(task(stale, outputs={"mask": {"track_hit_logit": logits}})["track_regr"], expected)


def test_what_a_checkpoint_holds_is_not_learned_again(kind: str, build: Callable, batch: Callable) -> None:
    one, two = (build(kind, seed, standardize=True) for seed in (1, 2))
    inputs, targets = batch()
    one.loss(one(inputs), dict(targets))
    two.loss(two(inputs), targets | {"particle_truthMuon_eta": targets["particle_truthMuon_phi"]})
    two.load_state_dict(one.state_dict())
    two.loss(two(inputs), dict(targets))
    assert torch.equal(two.tasks[2].space.mean, one.tasks[2].space.mean)
    assert torch.equal(two.tasks[2].space.spread, one.tasks[2].space.spread)
