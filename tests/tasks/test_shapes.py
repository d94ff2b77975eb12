"""Wrong widths and counts are errors that name the task or the fit, and the tensor."""

import pytest
import torch
from torch import Tensor

from hitpool.fits import HelixFit, SolenoidFit, ToroidFit, TrackFit
from hitpool.tasks import (
    ObjectHitMaskTask,
    ObjectRegressionTask,
    ObjectValidTask,
    WeightedPoolingObjectHitRegressionTask,
)

B, N, M, D = 2, 3, 5, 8
NAMES = {"input_object": "query", "output_object": "track", "target_object": "particle", "dim": D}
REGRESSION = {**NAMES, "fields": ["eta", "phi"], "loss_weight": 1.0}
VALID = ObjectValidTask("valid", **NAMES, losses={"object_bce": 1.0}, costs={"object_bce": 1.0})
MASK = ObjectHitMaskTask("mask", "hit", **NAMES, losses={"mask_bce": 1.0}, costs={"mask_bce": 1.0})
QUERY = ObjectRegressionTask("query", **REGRESSION, cost_weight=1.0)
POOL = WeightedPoolingObjectHitRegressionTask("pool", "hit", **REGRESSION, hit_fields=["r", "z"])
TASKS = {task.name: task for task in (VALID, MASK, QUERY, POOL)}


def inputs() -> dict[str, Tensor]:
    embedded = {"query_embed": torch.zeros(B, N, D), "hit_embed": torch.zeros(B, M, D)}
    fields = {"hit_r": torch.zeros(B, M), "hit_z": torch.zeros(B, M)}
    return {
        **embedded,
        **fields,
        "hit_valid": torch.ones(B, M, dtype=torch.bool),
        "track_hit_logit": torch.zeros(B, N, M),
    }


def run(name: str, x: dict[str, Tensor]) -> dict[str, Tensor]:
    raw = {field: x.pop(field) for field in ("hit_r", "hit_z")}
    return TASKS[name](x | {"inputs": raw}, {"mask": {"track_hit_logit": x.pop("track_hit_logit")}})


def targets() -> dict[str, Tensor]:
    valid = {"hit_valid": (B, M), "particle_valid": (B, N), "particle_hit_valid": (B, N, M)}
    fields = {"particle_eta": torch.zeros(B, N), "particle_phi": torch.zeros(B, N)}
    return {name: torch.ones(shape, dtype=torch.bool) for name, shape in valid.items()} | fields


@pytest.mark.parametrize("name", TASKS)
def test_what_fits_is_taken(name: str) -> None:
    task = TASKS[name]
    outputs = run(name, inputs())
    task.loss(outputs, targets())
    task.cost(outputs, targets())
    task.predict(outputs)


@pytest.mark.parametrize(
    ("task", "tensor", "shape", "expected"),
    [
        ("valid", "query_embed", (B, N, 6), r"query_embed \[B, L, D\] = \[B, L, 8\]"),
        ("mask", "query_embed", (B, N, 6), r"query_embed \[B, L, D\] = \[B, L, 8\]"),
        ("mask", "hit_embed", (B, M, 9), r"hit_embed \[B, L, D\] = \[B, L, 8\]"),
        ("mask", "query_embed", (1, N, D), r"query_embed \[B, N, D\] = \[2, N, 8\]"),
        ("mask", "hit_valid", (B, 4), r"hit_valid \[B, M\] = \[2, 5\]"),
        ("query", "query_embed", (N, D), r"query_embed \[B, L, D\] = \[B, L, 8\]"),
        ("pool", "query_embed", (B, N, 6), r"query_embed \[B, N, D\] = \[B, N, 8\]"),
        ("pool", "hit_embed", (B, M, 9), r"hit_embed \[B, M, D\] = \[2, M, 8\]"),
        ("pool", "hit_valid", (B, 4), r"hit_valid \[B, M\] = \[2, 5\]"),
        ("pool", "hit_z", (B, 4), r"hit_z \[B, M\] = \[2, 5\]"),
        ("pool", "track_hit_logit", (B, N, 4), r"track_hit_logit \[B, N, M\] = \[2, 3, 5\]"),
    ],
)
def test_inputs(task: str, tensor: str, shape: tuple[int, ...], expected: str) -> None:
    x = inputs()
    x[tensor] = torch.zeros(shape, dtype=x[tensor].dtype)
    got = r"\[" + ", ".join(map(str, shape)) + r"\]"
    with pytest.raises(ValueError, match=f"^task {task}: expected {expected}, got {got}$"):
        run(task, x)


def test_the_tensor_that_comes_last_is_named() -> None:
    with pytest.raises(ValueError, match=r"^task pool: expected track_hit_logit .* = \[2, 4, 5\], got \[2, 3, 5\]$"):
        run("pool", inputs() | {"query_embed": torch.zeros(B, 4, D)})


@pytest.mark.parametrize("method", ["loss", "cost"])
@pytest.mark.parametrize(
    ("task", "tensor", "shape", "expected"),
    [
        ("valid", "track_logit", (B, 4), r"track_logit \[B, N\] = \[2, 3\]"),
        ("mask", "track_hit_logit", (B, N, 4), r"track_hit_logit \[B, N, M\] = \[2, 3, 5\]"),
        ("query", "track_regr", (B, 4, 2), r"track_regr \[B, N, K\] = \[2, 3, 2\]"),
        ("query", "track_regr", (B, N, 5), r"track_regr \[B, N, K\] = \[2, 3, 2\]"),
    ],
)
def test_outputs(method: str, task: str, tensor: str, shape: tuple[int, ...], expected: str) -> None:
    got = r"\[" + ", ".join(map(str, shape)) + r"\]"
    with pytest.raises(ValueError, match=f"^task {task}: expected {expected}, got {got}$"):
        getattr(TASKS[task], method)({tensor: torch.zeros(shape)}, targets())


@pytest.mark.parametrize(
    "fit", [ToroidFit(), SolenoidFit(field=2.0), HelixFit(["z"], field=2.0)], ids=lambda fit: type(fit).__name__
)
def test_fits(fit: TrackFit) -> None:
    name, fields = type(fit).__name__, len(fit.inputs)
    hits, logits, valid = torch.zeros(B, M, fields), torch.zeros(B, N, M), torch.ones(B, M, dtype=torch.bool)
    fit(hits, logits, valid)
    with pytest.raises(ValueError, match=rf"^{name}: expected hits \[B, M, F\] = \[B, M, {fields}\], got \[2, 5, 2\]$"):
        fit(hits[..., :2], logits, valid)
    with pytest.raises(ValueError, match=rf"^{name}: expected logits \[B, N, M\] = \[2, N, 5\], got \[2, 3, 4\]$"):
        fit(hits, logits[..., :4], valid)
    with pytest.raises(ValueError, match=rf"^{name}: expected valid \[B, M\] = \[2, 5\], got \[1, 5\]$"):
        fit(hits, logits, valid[:1])
