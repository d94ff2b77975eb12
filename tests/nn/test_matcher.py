import itertools
import math

import pytest
import torch

from hitpool.nn import Matcher


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_total_cost_is_the_lowest_of_all_permutations(slots: int) -> None:
    generator = torch.Generator().manual_seed(slots)
    costs = {name: torch.rand(40, slots, slots, generator=generator) for name in ("valid", "mask")}
    count = torch.randint(0, slots + 1, (40, 1), generator=generator)
    valid = torch.arange(slots) < count
    pred_idx = Matcher()(costs, valid)
    assert torch.equal(pred_idx.sort(dim=-1).values, torch.arange(slots).expand(40, -1))
    total = costs["valid"] + costs["mask"]
    for event in range(40):
        n = int(count[event])

        def score(order: tuple[int, ...], event: int = event, n: int = n) -> float:
            return sum(total[event, order[target], target].item() for target in range(n))

        best = min(map(score, itertools.permutations(range(slots))))
        assert score(tuple(pred_idx[event].tolist())) == pytest.approx(best)


def test_costs_of_empty_slots_have_no_influence() -> None:
    cost = torch.tensor([[[3.0, math.nan], [1.0, math.inf]]])
    assert Matcher()({"mask": cost}, torch.tensor([[True, False]])).tolist() == [[1, 0]]


def test_no_event() -> None:
    assert Matcher()({"mask": torch.zeros(0, 2, 2)}, torch.zeros(0, 2, dtype=torch.bool)).shape == (0, 2)


def test_nan_cost_names_task_event_and_slot() -> None:
    cost = torch.zeros(3, 2, 2)
    cost[1, 0, 1] = math.nan
    arguments = {"good": torch.zeros(3, 2, 2), "final track_valid": cost}, torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(
        ValueError, match="cost of final track_valid is nan in event 77 for prediction 0 and truth slot 1"
    ):
        Matcher()(*arguments, torch.tensor([5, 77, 6]))
    with pytest.raises(ValueError, match="in event 1 of the batch"):
        Matcher()(*arguments)


def test_no_cost_is_an_error() -> None:
    with pytest.raises(ValueError, match="no task has a cost"):
        Matcher()({}, torch.ones(1, 2, dtype=torch.bool))
