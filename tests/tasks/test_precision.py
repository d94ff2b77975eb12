"""Tasks that were brought to another type than that of what they read."""

import pytest
import torch
from torch import Tensor, nn

from hitpool.fits import HelixFit
from hitpool.tasks import (
    ObjectHitMaskTask,
    ObjectRegressionTask,
    ObjectValidTask,
    WeightedPoolingObjectHitRegressionTask,
)

COMMON = {"input_object": "query", "output_object": "track", "target_object": "particle", "dim": 8}
FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
REGRESSION = {
    "name": "regression",
    "fields": FIELDS,
    "inverse_fields": FIELDS[2:3],
    "sign_fields": FIELDS[3:],
    "loss_weight": 1.0,
    "standardize": True,
    "cost_weight": 1.0,
    **COMMON,
}
POOLING = {"input_hit": "hit", "hit_fields": ["x", "z"], **REGRESSION}
TASKS = {
    "valid": lambda: ObjectValidTask("valid", losses={"object_bce": 1.0}, costs={"object_bce": 1.0}, **COMMON),
    "mask": lambda: ObjectHitMaskTask(
        "mask", "hit", losses={"mask_bce": 1.0, "mask_dice": 1.0}, costs={"mask_focal": 1.0, "mask_dice": 1.0}, **COMMON
    ),
    "query": lambda: ObjectRegressionTask(**REGRESSION),
    "pooling": lambda: WeightedPoolingObjectHitRegressionTask(**POOLING),
    "fit": lambda: WeightedPoolingObjectHitRegressionTask(
        **POOLING | {"standardize": {"truthMuon_eta": (0.0, 2.0)}}, track_fit=HelixFit(["y"], field=2.0)
    ),
}


def make(kind: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(1)
    task = TASKS[kind]().to(dtype)
    task.fit_standardization({field: torch.tensor([1.0, 2.0, 4.0]) for field in FIELDS})
    return task


def results(task: nn.Module, x: dict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
    logit = {"track_hit_logit": (2 * x["hit_embed"][..., :2]).mT}
    outputs = task(x, {"mask": logit})
    costs = {f"cost {name}": value for name, value in task.cost(outputs, targets).items()}
    losses = task.loss(outputs, targets)
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in task.parameters())
    preds = {name: value for name, value in task.predict(outputs).items() if value.is_floating_point()}
    return outputs | costs | losses | preds


@pytest.mark.parametrize("kind", TASKS)
def test_float64_tasks_work_among_float32(x: dict, targets: dict[str, Tensor], kind: str) -> None:
    single, double = (results(make(kind, dtype), x, targets) for dtype in (torch.float32, torch.float64))
    for name, value in double.items():
        assert value.dtype == torch.float64, name
        limited = (result.float().clamp(-1e30, 1e30) for result in (value, single[name]))  # lowest logits differ
        torch.testing.assert_close(*limited, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("kind", TASKS)
def test_float32_tasks_work_among_float64(x: dict, targets: dict[str, Tensor], kind: str) -> None:
    def double(values: dict) -> dict:
        return {
            name: double(v) if isinstance(v, dict) else v.double() if v.is_floating_point() else v
            for name, v in values.items()
        }

    expected, found = (
        results(make(kind, torch.float32), x, targets),
        results(make(kind, torch.float32), double(x), double(targets)),
    )
    for name, value in found.items():
        torch.testing.assert_close(value.float(), expected[name], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", TASKS)
def test_below_float32_only_what_reads_no_coordinates_works(
    x: dict, targets: dict[str, Tensor], kind: str, dtype: torch.dtype
) -> None:
    if kind in ("valid", "mask"):
        (logit, *_) = results(make(kind, dtype), x, targets).values()
        assert logit.dtype == dtype
        return
    with pytest.raises(TypeError, match=rf"^task regression: expected layers in float32 or float64, got {dtype}"):
        results(make(kind, dtype), x, targets)
