import math

import pytest
import torch
from torch import Tensor

from hitpool.nn import losses


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def bce(x: float, target: bool) -> float:
    return -math.log(sigmoid(x) if target else 1 - sigmoid(x))


def focal(x: float, target: bool) -> float:
    return bce(x, target) * (1 - sigmoid(x) if target else sigmoid(x)) ** 2


def dice(xs: list[float], targets: list[bool]) -> float:
    probs = [sigmoid(x) for x in xs]
    overlap = sum(p for p, t in zip(probs, targets, strict=True) if t)
    return 1 - (2 * overlap + 1) / (sum(probs) + sum(targets) + 1)


@pytest.fixture(params=[0.3, 0.0], ids=["weighted", "without empty slots"])
def sample(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    valid = torch.tensor([[True, True, True, True], [True, True, False, False], [False] * 4]).unsqueeze(1)  # [B, 1, M]
    logit = torch.randn(3, 2, 4, generator=generator) * 2
    logit = torch.where(valid, logit, torch.finfo(torch.float32).min)
    target = (torch.rand(3, 2, 4, generator=generator) < 0.5) & valid
    null = request.param
    weight = torch.tensor([[1.0, 1.0], [1.0, null], [null, null]]).unsqueeze(-1)
    return logit, target, valid, weight


def pairs(logit: Tensor, target: Tensor, valid: Tensor, event: int, pred: int, true: int) -> tuple[list, list]:
    hits = valid[event, 0].nonzero().flatten().tolist()
    return [logit[event, pred, m].item() for m in hits], [target[event, true, m].item() for m in hits]


@pytest.mark.parametrize(("name", "element"), [("mask_bce", bce), ("mask_focal", focal)])
def test_mask_losses_are_weighted_means_over_slots_and_valid_hits(sample: tuple, name: str, element) -> None:
    logit, target, valid, weight = sample
    total, count = 0.0, 0
    for event in range(3):
        for slot in range(2):
            xs, ts = pairs(logit, target, valid, event, slot, slot)
            total += weight[event, slot].item() * sum(map(element, xs, ts))
            count += len(xs)
    assert losses.MASK_LOSSES[name](logit, target, valid, weight).item() == pytest.approx(total / count, rel=1e-5)


def test_dice_loss_is_the_weighted_mean_over_slots(sample: tuple) -> None:
    logit, target, valid, weight = sample
    terms = [
        weight[event, slot].item() * dice(*pairs(logit, target, valid, event, slot, slot))
        for event in range(3)
        for slot in range(2)
    ]
    assert losses.mask_dice_loss(logit, target, valid, weight).item() == pytest.approx(sum(terms) / 6, rel=1e-5)


@pytest.mark.parametrize("name", sorted(losses.MASK_COSTS))
def test_mask_costs_compare_every_prediction_with_every_target(sample: tuple, name: str) -> None:
    logit, target, valid, _ = sample
    cost = losses.MASK_COSTS[name](logit, target, valid)
    assert cost.shape == (3, 2, 2)
    for event in range(3):
        for pred in range(2):
            for true in range(2):
                xs, ts = pairs(logit, target, valid, event, pred, true)
                if name == "mask_dice":
                    expected = dice(xs, ts)
                else:
                    element = bce if name == "mask_bce" else focal
                    expected = sum(map(element, xs, ts)) / max(len(xs), 1)
                assert cost[event, pred, true].item() == pytest.approx(expected, abs=1e-5)


def test_object_bce_loss_and_cost() -> None:
    logit, target = torch.tensor([[0.5, -2.0]]), torch.tensor([[True, False]])
    weight = torch.tensor([[1.0, 0.25]])
    expected = (bce(0.5, True) + 0.25 * bce(-2.0, False)) / 2
    assert losses.object_bce_loss(logit, target, weight).item() == pytest.approx(expected)
    cost = losses.object_bce_cost(logit, target)[0].tolist()
    assert cost[0] == pytest.approx([bce(0.5, True), bce(0.5, False)])
    assert cost[1] == pytest.approx([bce(-2.0, True), bce(-2.0, False)])


@pytest.mark.parametrize("name", sorted(losses.MASK_LOSSES))
def test_far_logits_and_nan_at_padded_hits_stay_finite(name: str) -> None:
    logit = torch.tensor([[[100.0, -100.0, math.nan], [math.nan, math.nan, math.nan]]], requires_grad=True)
    valid = torch.tensor([[[True, True, False]]])
    logit = torch.cat([logit[:, :1], torch.zeros(1, 1, 3)], dim=1)
    target = torch.tensor([[[False, True, False], [False, False, False]]])
    loss = losses.MASK_LOSSES[name](logit, target, valid, torch.ones(1, 2, 1))
    (grad,) = torch.autograd.grad(loss, logit)
    assert loss.isfinite()
    assert grad.isfinite().all()
    assert grad[0, 0, 2] == 0


@pytest.mark.parametrize("shape", [(2, 2, 0), (0, 2, 5)])
@pytest.mark.parametrize("name", sorted(losses.MASK_LOSSES))
def test_nothing_gives_zero_with_a_graph(name: str, shape: tuple[int, int, int]) -> None:
    logit = torch.randn(shape, requires_grad=True)
    target, valid = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape[0], 1, shape[2], dtype=torch.bool)
    loss = losses.MASK_LOSSES[name](logit, target, valid, torch.ones(*shape[:2], 1))
    assert loss.item() == 0
    loss.backward()
    assert logit.grad.shape == shape
