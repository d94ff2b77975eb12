import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from hitpool.training import OneCycle


@pytest.mark.parametrize("steps", [2, 7, 250])
@pytest.mark.parametrize("pct_start", [0.05, 0.3, 0.9])
def test_equals_torch(steps: int, pct_start: float) -> None:
    cycle = OneCycle(initial=1e-5, max=1e-3, end=1e-6, pct_start=pct_start)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = OneCycleLR(
        optimizer,
        max_lr=cycle.max,
        total_steps=steps,
        pct_start=pct_start,
        div_factor=cycle.max / cycle.initial,
        final_div_factor=cycle.initial / cycle.end,
        cycle_momentum=False,
    )
    for step in range(steps):
        assert cycle.at(step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()


def test_reaches_maximum_and_end() -> None:
    cycle = OneCycle(initial=1e-4, max=2e-3, end=1e-6, pct_start=0.25)
    rates = [cycle.at(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates.index(max(rates)) == 249
    assert max(rates) == pytest.approx(2e-3)
    assert rates[-1] == pytest.approx(1e-6)
    assert cycle.at(2000, 1000) == pytest.approx(1e-6)


@pytest.mark.parametrize(("steps", "pct_start"), [(1, 0.5), (10, 0.1), (10, 0.0), (10, 1.0), (1, 1.0)])
def test_short_trainings_have_finite_rates(steps: int, pct_start: float) -> None:
    cycle = OneCycle(initial=1e-4, max=1e-3, end=1e-5, pct_start=pct_start)
    for step in range(steps + 1):
        assert 1e-5 * (1 - 1e-9) <= cycle.at(step, steps) <= 1e-3 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("option", "value"),
    [("initial", 0.0), ("max", -1.0), ("end", float("nan")), ("pct_start", 1.5), ("weight_decay", -1e-5)],
)
def test_bad_options_are_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"lrs_config\.{option}.*{value}"):
        OneCycle(**{option: value})
