"""The network in float64; what is refused below float32."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hitpool.nn import MaskFormer, PositionEncoder


def double(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() if value.is_floating_point() else value for name, value in values.items()}


def total(model: MaskFormer, inputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    losses = model.loss(model.match(model(inputs), targets), targets)
    return sum(value for tasks in losses.values() for terms in tasks.values() for value in terms.values())


def test_float64_is_kept_from_the_hits_to_the_gradients(build: Callable, tasks: Callable, batch: Callable) -> None:
    model = build(tasks=tasks(standardize=True, loss="l2", cost_weight=1.0))
    inputs, targets = batch([12, 3, 7], [2, 1, 2], size=15)
    values = torch.arange(1.0, 10.0)
    model.tasks[2].fit_standardization({f"truthMuon_{name}": values for name in ("eta", "phi", "pt", "q")})
    single = total(model, inputs, targets)
    model.double()
    inputs, targets = double(inputs), double(targets)
    loss = total(model, inputs, targets)
    loss.backward()
    torch.testing.assert_close(loss, single.double(), rtol=1e-3, atol=0)
    generator = torch.Generator().manual_seed(3)
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    steps = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    slope = sum((parameter.grad * step).sum() for parameter, step in zip(parameters, steps, strict=True))
    moved = []
    for sign in (1, -2):  # one step forward and one back of the start
        for parameter, step in zip(parameters, steps, strict=True):
            parameter.data.add_(step, alpha=sign * 1e-7)
        moved.append(total(model, inputs, targets))
    torch.testing.assert_close((moved[0] - moved[1]) / 2e-7, slope, rtol=1e-5, atol=0)  # float32 would round it away
    for preds in model.predict(model(inputs))["final"].values():
        assert all(value.dtype in (torch.float64, torch.bool) for value in preds.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_coordinates_are_not_read_below_float32(build: Callable, batch: Callable, dtype: torch.dtype) -> None:
    inputs, _ = batch([4], [1])
    with pytest.raises(
        TypeError, match=rf"InputNet hit: expected layers in float32 or float64, got {dtype}.*bf16-mixed"
    ):
        build().to(dtype)(inputs)
    with pytest.raises(TypeError, match=rf"PositionEncoder: expected layers in .*, got {dtype}"):
        PositionEncoder("hit", 8, fields=["x"]).to(dtype)(inputs)
