"""The learning rate as a function of the step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class OneCycle:
    """One cycle of the learning rate: up from `initial` to `max`, then down to `end`, both along half a cosine.

    The maximum is reached at step `pct_start * steps - 1`, the end at the last step, as in
    `torch.optim.lr_scheduler.OneCycleLR` (Smith and Topin, "Super-Convergence", arXiv:1708.07120).

    Args:
        initial: Learning rate of the first step.
        max: Largest learning rate.
        end: Learning rate of the last step.
        pct_start: Fraction of all steps spent going up, between 0 and 1.
        weight_decay: Decoupled weight decay of the optimiser.

    Raises:
        ValueError: If a learning rate is not positive, `pct_start` is outside [0, 1] or `weight_decay` is negative.
    """

    initial: float = 1e-4
    max: float = 1e-3
    end: float = 1e-5
    pct_start: float = 0.1
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("initial", "max", "end"):
            if not getattr(self, name) > 0:
                raise ValueError(f"lrs_config.{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"lrs_config.pct_start is a fraction between 0 and 1, got {self.pct_start}")
        if not self.weight_decay >= 0:
            raise ValueError(f"lrs_config.weight_decay must not be negative, got {self.weight_decay}")

    def at(self, step: int, steps: int) -> float:
        """Learning rate at `step`, counted from 0, of a training of `steps` steps.

        Example:
            >>> cycle = OneCycle(initial=1e-4, max=1e-3, end=1e-5, pct_start=0.5)
            >>> [f"{cycle.at(step, 10):.2e}" for step in (0, 2, 4, 9)]
            ['1.00e-04', '5.50e-04', '1.00e-03', '1.00e-05']
        """
        top = self.pct_start * steps - 1
        if step <= top:
            return _half_cosine(self.initial, self.max, step / top if top > 0 else 1.0)
        return _half_cosine(self.max, self.end, min(1.0, (step - top) / (steps - 1 - top)) if steps - 1 > top else 1.0)


def _half_cosine(start: float, stop: float, fraction: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * fraction)) / 2
