"""What a foreign loader leaves in the raw fields of padded hits has no influence on a task."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hitpool.fits import HelixFit
from hitpool.hepattn import tasks as of_hepattn
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

COMMON = {"input_hit": "hit", "input_object": "query", "output_object": "track", "target_object": "particle", "dim": 8}
REGRESSION = {"name": "regression", "hit_fields": ["x", "z"], "fields": ["truthMuon_eta"], "loss_weight": 1.0, **COMMON}
TASKS: dict[str, Callable[[type[nn.Module]], nn.Module]] = {
    "pooling": lambda kind: kind(**REGRESSION),
    "fit": lambda kind: kind(**REGRESSION, track_fit=HelixFit(["y"], field=2.0)),
}
PLACES = {  # of the raw fields
    "under inputs": WeightedPoolingObjectHitRegressionTask,
    "directly": of_hepattn.WeightedPoolingObjectHitRegressionTask,
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return request.param


def trained(task: nn.Module, x: dict, targets: dict[str, Tensor], place: str, junk: float) -> list[Tensor]:
    """Outputs, loss and gradients with a number in the raw fields and logits of padded hits."""
    padded = ~x["hit_valid"]
    raw = {name: value.masked_fill(padded, junk) for name, value in x["inputs"].items()}
    given = {name: value for name, value in x.items() if name != "inputs"}
    given |= raw if place == "directly" else {"inputs": raw}
    given["hit_embed"] = x["hit_embed"].clone().requires_grad_()
    logit = (2 * x["hit_embed"][..., :2]).mT.masked_fill(padded.unsqueeze(1), junk).requires_grad_()
    outputs = task(given, {"mask": {"track_hit_logit": logit}})
    loss = sum(task.loss(outputs, targets).values())
    task.zero_grad()
    loss.backward()
    leaves = [given["hit_embed"], *task.parameters()]
    return [*outputs.values(), *task.cost(outputs, targets).values(), loss, *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("junk", [torch.nan, torch.inf])
@pytest.mark.parametrize("kind", TASKS)
def test_task(x: dict, targets: dict[str, Tensor], place: str, kind: str, junk: float) -> None:
    torch.manual_seed(1)
    task = TASKS[kind](PLACES[place])
    zeros, found = (trained(task, x, targets, place, number) for number in (0.0, junk))
    for expected, value in zip(zeros, found, strict=True):
        assert expected.isfinite().all()
        assert torch.equal(value, expected)


@pytest.mark.parametrize("junk", [torch.nan, torch.inf])
def test_fit_alone(x: dict, junk: float) -> None:
    torch.manual_seed(1)
    fit = HelixFit(["y"], field=2.0)
    points = torch.stack(list(x["inputs"].values()), dim=-1)  # [B, M, 3]

    def results(number: float) -> list[Tensor]:
        hits = points.masked_fill(~x["hit_valid"].unsqueeze(-1), number)
        estimate = fit(hits[..., [0, 1, 2, 1]], 2 * x["hit_embed"][..., :2].mT, x["hit_valid"])
        fit.zero_grad()
        sum(value.sum() for value in estimate.values()).backward()
        return [*estimate.values(), *(parameter.grad for parameter in fit.parameters())]

    for expected, found in zip(results(0.0), results(junk), strict=True):
        assert expected.isfinite().all()
        assert torch.equal(found, expected)


def test_sorted_hits_with_nan_in_the_padding_are_followed(x: dict) -> None:
    valid = x["hit_valid"]
    raw = {name: value.masked_fill(~valid, torch.nan) for name, value in x["inputs"].items()}
    order = raw["hit_z"].argsort(-1)
    task = of_hepattn.WeightedPoolingObjectHitRegressionTask(**REGRESSION)
    embed = x["hit_embed"].masked_fill(~valid.unsqueeze(-1), 0)
    logit = (2 * embed[..., :2]).mT
    plain = task(x | {"inputs": raw}, {"mask": {"track_hit_logit": logit}})
    moved = {"inputs": raw, "hit_z": raw["hit_z"].gather(1, order), "query_embed": x["query_embed"]}
    moved["hit_valid"] = valid.gather(1, order)
    moved["hit_embed"] = torch.take_along_dim(embed, order.unsqueeze(-1), 1)
    logit = torch.take_along_dim(logit, order.unsqueeze(1), 2)
    torch.testing.assert_close(task(moved, {"mask": {"track_hit_logit": logit}}), plain)
