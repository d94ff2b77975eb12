"""First hits of objects, and the queries that begin with them."""

import pytest
import torch
from torch import Tensor

from hitpool.tasks import ObjectSeedTask


def make_task(**options: object) -> ObjectSeedTask:
    torch.manual_seed(2)
    arguments = {"target_object": "particle", "order_field": "x", "dim": 8, "num_queries": 2} | options
    return ObjectSeedTask("track_seed", "hit", **arguments)


def first_hits(x: dict, targets: dict[str, Tensor]) -> list[list[int | None]]:
    """The hit of each object with the lowest x, one after the other."""
    found = []
    for order, objects in zip(x["inputs"]["hit_x"].tolist(), targets["particle_hit_valid"].tolist(), strict=True):
        hits = [[hit for hit, belongs in enumerate(own) if belongs] for own in objects]
        found.append([min(own, key=lambda hit, order=order: order[hit]) if own else None for own in hits])
    return found


def test_seeds_are_the_valid_hits_with_the_highest_logits(x: dict) -> None:
    task = make_task()
    out = task(x)
    assert out["query_seed"].shape == (4, 2)
    logit = task.seed_net(x["hit_embed"]).squeeze(-1)
    for event in range(2):
        valid = x["hit_valid"][event].nonzero().flatten().tolist()
        wanted = sorted(valid, key=lambda hit, event=event: -logit[event, hit].item())[:2]
        assert out["query_seed"][event].tolist() == wanted
        seeds = x["hit_embed"][event, wanted]
        torch.testing.assert_close(out["query_embed"][event], seeds + task.query_net(seeds))
    assert out["query_seed"][2, 0] == 0
    assert out["hit_seed_logit"][~x["hit_valid"]].max() == torch.finfo(torch.float32).min


def test_loss_is_the_mean_over_the_valid_hits(x: dict, targets: dict[str, Tensor]) -> None:
    task = make_task(loss_weight=3.0)
    out = task(x)
    terms = []
    for event, first in enumerate(first_hits(x, targets)):
        for hit in x["hit_valid"][event].nonzero().flatten().tolist():
            prob = out["hit_seed_logit"][event, hit].sigmoid()
            terms.append(-(prob if hit in first else 1 - prob).log())
    assert task.loss(out, targets)["seed_bce"].item() == pytest.approx(3 * torch.stack(terms).mean().item(), rel=1e-5)
    assert task.loss(task(x), targets | {"hit_valid": torch.zeros(4, 15, dtype=torch.bool)})["seed_bce"] == 0


def test_cost_and_efficiency_ask_for_the_first_hit(x: dict, targets: dict[str, Tensor]) -> None:
    task, first = make_task(cost_weight=4.0), first_hits(x, targets)
    other = [[hit for hit in range(15) if targets["particle_hit_valid"][event, 0, hit]] for event in range(4)]
    out = task(x) | {"query_seed": torch.tensor([[first[0][1], other[0][-1]], [first[1][0], 14], [0, 1], [0, 1]])}
    assert other[0][-1] != first[0][0]
    cost = task.cost(out, targets)["seed"]  # [B, query, target]
    assert cost[0].tolist() == [[4, 0], [2, 4]]
    assert cost[1].tolist() == [[0, 4], [4, 4]]
    assert cost[3].tolist() == [[4, 4], [4, 4]]
    found = task.metrics(task.predict(out), targets)["seed_efficiency"]
    assert found == pytest.approx(3 / 4)  # not that of the first particle


def test_fewer_hits_than_queries(x: dict, targets: dict[str, Tensor]) -> None:
    task = make_task(num_queries=20)
    targets = targets | {
        "particle_hit_valid": torch.nn.functional.pad(targets["particle_hit_valid"], (0, 0, 0, 18)),
        "particle_valid": torch.nn.functional.pad(targets["particle_valid"], (0, 18)),
    }
    out = task(x)
    assert out["query_embed"].shape == (4, 20, 8)
    assert out["query_embed"].isfinite().all()
    assert task.cost(out, targets)["seed"].shape == (4, 20, 20)
    assert task.metrics(task.predict(out), targets)["seed_efficiency"] == 1
    (task.loss(out, targets)["seed_bce"] + out["query_embed"].sum()).backward()


def test_no_hits(x: dict, targets: dict[str, Tensor]) -> None:
    task = make_task()
    none = {name: tensor[:, :0] for name, tensor in x["inputs"].items()}
    empty = {"hit_embed": x["hit_embed"][:, :0], "hit_valid": x["hit_valid"][:, :0], "inputs": none}
    out = task(empty)
    targets = targets | {name: targets[name][..., :0] for name in ("hit_valid", "particle_hit_valid")}
    assert task.loss(out, targets)["seed_bce"] == 0
    assert (task.cost(out, targets)["seed"] == 5).all()
    assert task.metrics(task.predict(out), targets) == {}
