from typing import Any

import lion_pytorch
import pytest
import torch

from hitpool.training import optimizers
from hitpool.training.optimizers import GRAIN

CASES = [(optimizers.AdamW, torch.optim.AdamW), (optimizers.Lion, lion_pytorch.Lion)]


@pytest.mark.parametrize(("ours", "theirs"), CASES)
@pytest.mark.parametrize("size", [7, GRAIN])
def test_equals_the_original(ours: Any, theirs: Any, size: int) -> None:
    results = []
    for kind in (ours, theirs):
        torch.manual_seed(1)
        weight = torch.nn.Parameter(torch.randn(size))
        optimizer = kind([weight], lr=0.1, weight_decay=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
        results.append((weight.detach(), optimizer.state_dict()["state"][0]))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize(("size", "expected"), [(GRAIN - 1, 1), (GRAIN, 3)])
def test_small_parameters_are_updated_by_one_thread(size: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: used.append(torch.get_num_threads()))
    optimizer = optimizers.AdamW([torch.nn.Parameter(torch.zeros(size))])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        loss = optimizer.step(lambda: used.append(torch.get_num_threads()) or 5.0)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert used == [3, expected]
    assert loss == 5.0
