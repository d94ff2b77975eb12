import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hitpool.nn import MaskFormer

LAYERS = ["layer_0", "layer_1", "final"]


def total(losses: dict) -> Tensor:
    return sum(value for layer in losses.values() for task in layer.values() for value in task.values())


def test_outputs_have_the_layers_tasks_and_shapes(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(), batch([9, 4, 7], [2, 1, 2])
    outputs = model.match(model(inputs), targets)
    assert list(outputs) == LAYERS
    assert list(outputs["layer_0"]) == ["track_valid", "track_hit_valid"]
    shapes = {k: tuple(v.shape) for task in outputs["final"].values() for k, v in task.items()}
    assert shapes == {"track_logit": (3, 2), "track_hit_logit": (3, 2, 9), "track_regr": (3, 2, 4)}
    assert {task: list(terms) for task, terms in model.loss(outputs, targets)["final"].items()} == {
        "track_valid": ["object_bce"],
        "track_hit_valid": ["mask_bce"],
        "parameter_regression": ["smooth_l1"],
    }
    preds = model.predict(outputs)["final"]
    assert list(preds["track_valid"]) == ["track_valid", "track_valid_prob"]
    assert list(preds["track_hit_valid"]) == ["track_hit_valid", "track_hit_valid_prob"]
    fields = ["track_truthMuon_eta", "track_truthMuon_phi", "track_truthMuon_pt", "track_truthMuon_q"]
    assert list(preds["parameter_regression"]) == fields


@pytest.mark.parametrize(
    ("lengths", "particles", "size"),
    [
        ([9, 4, 7], [2, 1, 2], None),
        ([5], [1], None),
        ([1, 1], [1, 2], None),
        ([3, 0, 5], [1, 0, 2], None),
        ([0, 0], [1, 2], 4),
        ([0, 0], [1, 0], 0),
        ([4, 6], [0, 0], None),
        ([], [], 3),
    ],
    ids=["usual", "one event", "one hit", "empty event", "only padding", "M=0", "no particle", "B=0"],
)
def test_losses_and_gradients_are_finite(build: Callable, batch: Callable, lengths, particles, size) -> None:
    model, (inputs, targets) = build(), batch(lengths, particles, size=size)
    outputs = model.match(model(inputs), targets)
    losses = model.loss(outputs, targets)
    values = [value for layer in losses.values() for task in layer.values() for value in task.values()]
    assert len(values) == 7
    assert all(value.ndim == 0 and value.requires_grad and value.isfinite() for value in values)
    total(losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    metrics = model.metrics(model.predict(outputs), targets)
    assert all(value.isfinite() for task in metrics.values() for value in task.values())


def test_every_parameter_gets_a_gradient(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(), batch([30, 25], [2, 2])
    total(model.loss(model.match(model(inputs), targets), targets)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_padding_changes_nothing(build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build(), batch([9, 4], [2, 1])
    wide = {name: nn.functional.pad(value, (0, 5)) for name, value in inputs.items()}
    garbage = {name: v if v.dtype == torch.bool else v.masked_fill(~wide["hit_valid"], 1e4) for name, v in wide.items()}
    one, two = model.predict(model(inputs))["final"], model.predict(model(garbage))["final"]
    for name, value in one["parameter_regression"].items():
        torch.testing.assert_close(two["parameter_regression"][name], value, atol=1e-4, rtol=1e-4)
    prob = two["track_hit_valid"]["track_hit_valid_prob"]
    torch.testing.assert_close(prob[..., :9], one["track_hit_valid"]["track_hit_valid_prob"], atol=1e-5, rtol=1e-4)
    assert not prob[..., 9:].any()


def test_an_event_without_hits_does_not_depend_on_padding(build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build(), batch([6, 0], [2, 0])
    alone = {name: value[1:, :0] for name, value in inputs.items()}
    padded, nothing = (model.predict(model(x))["final"] for x in (inputs, alone))
    for task in ("track_valid", "parameter_regression"):
        for name, value in nothing[task].items():
            torch.testing.assert_close(padded[task][name][1:], value)


def test_order_of_hits_does_not_matter(build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build(), batch([20, 20], [2, 1])
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    one, two = (model(x)["final"] for x in (inputs, {name: value[:, order] for name, value in inputs.items()}))
    regr, logit = "parameter_regression", "track_hit_valid"
    torch.testing.assert_close(two[regr]["track_regr"], one[regr]["track_regr"], atol=1e-4, rtol=1e-4)
    hit_logit = one[logit]["track_hit_logit"][..., order]
    torch.testing.assert_close(two[logit]["track_hit_logit"], hit_logit, atol=1e-5, rtol=1e-4)


def test_match_brings_predictions_into_the_order_of_the_targets(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(), batch([12, 8, 10, 9], [2, 2, 1, 2])
    with torch.no_grad():
        outputs = model(inputs)
    before = copy.deepcopy(outputs)
    matched = model.match(outputs, targets)
    torch.testing.assert_close(outputs, before, rtol=0, atol=0)
    orders = []
    for layer in LAYERS:
        for event in range(4):
            candidates = []
            for order in ([0, 1], [1, 0]):
                picked = {
                    task: {name: tensor[event : event + 1, order] for name, tensor in tensors.items()}
                    for task, tensors in outputs[layer].items()
                }
                alone = {name: value[event : event + 1] for name, value in targets.items()}
                cost = sum(
                    term[0, slot, slot].item()
                    for task in model.tasks
                    if task.name in picked
                    for term in task.cost(picked[task.name], alone).values()
                    for slot in range(int(alone["particle_valid"].sum()))
                )
                candidates.append((cost, order))
            order = min(candidates)[1]
            orders.append(tuple(order))
            for task, tensors in matched[layer].items():
                for name, tensor in tensors.items():
                    assert torch.equal(tensor[event], outputs[layer][task][name][event][order]), (
                        layer,
                        task,
                        name,
                    )
    assert len(set(orders)) == 2


def test_swapped_particles_swap_the_matched_predictions(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(), batch([12, 8], [2, 2])
    outputs = model(inputs)
    swapped = {k: v.flip(1) if k.startswith("particle") else v for k, v in targets.items()}
    one, two = (model.predict(model.match(outputs, t))["final"]["parameter_regression"] for t in (targets, swapped))
    for name, value in one.items():
        assert torch.equal(value, two[name].flip(1))


def test_predict_needs_no_targets(build: Callable, batch: Callable) -> None:
    model, (inputs, _) = build().eval(), batch([12, 8], [2, 2])
    with torch.inference_mode():
        preds = model.predict(model(inputs))["final"]
    pt = preds["parameter_regression"]["track_truthMuon_pt"]
    assert ((pt > 0) & pt.isfinite()).all()


@pytest.mark.parametrize(("mask_attn", "mask_queries", "runs"), [(True, False, 1), (False, False, 0), (True, True, 2)])
def test_without_intermediate_losses_only_masks_are_made(
    build: Callable, batch: Callable, tasks: Callable, mask_attn: bool, mask_queries: bool, runs: int
) -> None:
    model = build(tasks=tasks())
    model.tasks[0].mask_queries, model.tasks[1].mask_attn = mask_queries, mask_attn
    inputs, _ = batch([9, 4, 7], [2, 1, 1])
    calls = []
    for task in model.tasks:
        task.register_forward_hook(lambda task, *_: calls.append(task.name))
    expected = model(inputs)["final"]
    assert len(calls) == 3 + 2 * 2
    calls.clear()
    outputs = model(inputs, intermediate=False)
    assert len(calls) == 3 + 2 * runs
    assert outputs.keys() == {"final"}
    for name, values in expected.items():
        assert all(torch.equal(values[key], outputs["final"][name][key]) for key in values)


def test_training_lowers_the_loss(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(), batch([20, 15, 18, 20], [2, 1, 2, 1])
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    values = []
    for _ in range(80):
        loss = total(model.loss(model.match(model(inputs), targets), targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]
    preds = model.predict(model.match(model(inputs), targets))
    assert model.metrics(preds, targets)["track_hit_valid"]["hit_efficiency"] > 0.8


def test_mixed_precision_gives_float32_regression_and_finite_losses(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(), batch([20, 15], [2, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model.match(model(inputs), targets)
        loss = total(model.loss(outputs, targets))
    assert outputs["final"]["track_hit_valid"]["track_hit_logit"].dtype == torch.bfloat16
    assert outputs["final"]["parameter_regression"]["track_regr"].dtype == torch.float32
    loss.backward()
    exact = total(model.loss(model.match(model(inputs), targets), targets))
    assert loss.item() == pytest.approx(exact.item(), rel=0.1)


def test_state_survives_copies_and_strict_loading(build: Callable, batch: Callable, tasks: Callable) -> None:
    model, (inputs, targets) = build(tasks=tasks(standardize=True)), batch([12, 8], [2, 2])
    values = {k.removeprefix("particle_"): v[v.isfinite()] for k, v in targets.items() if "truthMuon" in k}
    model.tasks[2].fit_standardization(values)
    expected = model.predict(model(inputs))
    fresh = build(tasks=tasks(standardize=True))
    fresh.load_state_dict(model.state_dict(), strict=True)
    for other in (copy.deepcopy(model), fresh):
        torch.testing.assert_close(other.predict(other(inputs)), expected)
    assert len(set(model.state_dict())) == len(model.state_dict())


class Flat(nn.Module):
    """The model from hits to predictions, as it is exported."""

    def __init__(self, model: MaskFormer) -> None:
        super().__init__()
        self.model = model

    def forward(self, hits: Tensor, valid: Tensor) -> tuple[Tensor, ...]:
        fields = self.model.input_nets[0].fields
        inputs = {f"hit_{name}": hits[..., k] for k, name in enumerate(fields)} | {"hit_valid": valid}
        preds = self.model.predict(self.model(inputs))["final"]
        return tuple(tensor for task in preds.values() for tensor in task.values())


def test_traced_model_equals_eager_for_other_sizes(build: Callable, batch: Callable) -> None:
    flat = Flat(build(dim=32)).eval()

    def arguments(*shape: object, **options: object) -> tuple[Tensor, Tensor]:
        inputs, _ = batch(*shape, **options)
        return torch.stack([inputs[f"hit_{name}"] for name in flat.model.input_nets[0].fields], -1), inputs["hit_valid"]

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(flat, arguments([11, 7, 9], [2, 2, 2]))
        cases = {
            "same": arguments([11, 7, 9], [2, 2, 2]),
            "more": arguments([61, 47, 33, 9, 60], [2] * 5, seed=1),
            "M=1": arguments([1], [1]),
            "M=0": arguments([0, 0], [1, 1]),
            "padding": arguments([0, 0], [1, 1], size=4),
            "B=0": arguments([], [], size=4),
        }
        for case, (hits, valid) in cases.items():
            for ours, expected in zip(traced(hits, valid), flat(hits, valid), strict=True):
                torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5, msg=lambda m, c=case: f"{c}: {m}")


def test_pooled_regression_before_the_mask_task_is_refused(build: Callable, tasks: Callable) -> None:
    valid, mask, regression = tasks()
    with pytest.raises(
        ValueError, match=r"parameter_regression needs track_hit_logit.*put it after task track_hit_valid"
    ):
        build(tasks=[valid, regression, mask])
    with pytest.raises(ValueError, match="add an ObjectHitMaskTask"):
        build(tasks=[valid, regression])


def test_different_dims_are_refused(build: Callable, tasks: Callable) -> None:
    with pytest.raises(ValueError, match="encoder has dim = 8 and the model dim = 16"):
        build(encoder_dim=8)
    with pytest.raises(ValueError, match="task track_valid has dim = 32 and the model dim = 16"):
        build(tasks=tasks(dim=32))


def test_repeated_names_are_refused(build: Callable, tasks: Callable) -> None:
    with pytest.raises(ValueError, match=r"names of tasks repeat: \['track_valid'\]"):
        build(tasks=[tasks()[0], tasks()[0]])


def test_number_of_slots_must_equal_that_of_queries(build: Callable, batch: Callable) -> None:
    model, (inputs, targets) = build(queries=3), batch([5], [2], slots=2)
    with pytest.raises(ValueError, match=r"targets have 2 slots and the decoder 3 queries.*max_particles"):
        model.match(model(inputs), targets)
