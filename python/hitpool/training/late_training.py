"""Trains a part of a network on what is in front of it, which was computed once."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.progress import track
from torch import Tensor, nn

Sample = tuple[dict[str, Tensor], dict[str, Tensor]]  # what is kept of P tracks or hits [P, ...], and their targets [P]


@dataclass(frozen=True)
class Refinement:
    """Settings of the second phase, in which the assignment is frozen and each event is described once.

    Then the `late_part` of the pooled regression, the response of its fit or else its head, is trained on the kept
    descriptions in steps that cost a millisecond.

    Args:
        epochs: Passes through the training tracks; 0 for no second phase.
        batch_size: Tracks in a step.
        learning_rate: Largest learning rate of the cycle (AdamW).
        weight_decay: Of AdamW.
        max_events: Most training events that are described; None for all.

    Raises:
        ValueError: A number is negative, or `batch_size` or `max_events` is 0.
    """

    epochs: int = 0
    batch_size: int = 500
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    max_events: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"refinement.{name} must not be negative, got {getattr(self, name)}")
        for name in ("batch_size", "max_events"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"refinement.{name} must be at least 1, got {value}")


def train_part(
    part: nn.Module,
    loss: Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor],
    kept: Sample,
    held: Sample,
    settings: Refinement,
    batch_size: int,
    seed: int,
    title: str | None,
) -> tuple[int, float, float]:
    """Trains a module with AdamW and one cycle of the learning rate, and keeps the result if it is an improvement.

    Args:
        part: The module; afterwards it is in evaluation mode.
        loss: Mean loss of some members of a sample.
        kept: The sample of the training.
        held: That of the validation.
        settings: Passes through `kept`, whose members are drawn at random, and the optimizer.
        batch_size: Members in a step.
        seed: Of the draws and of dropout.
        title: Of the progress bar; None for no bar.

    Returns:
        Number of steps, and the loss of `held` before and after; if it has not fallen, the weights are the old ones.
    """
    values = next(iter(kept[1].values()))
    number = len(values)
    size = min(batch_size, number)
    steps = max(1, settings.epochs * number // size)
    with torch.no_grad():
        before, old = loss(*held).item(), copy.deepcopy(part.state_dict())
    parameters = list(part.parameters())
    part.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    length = max(steps + 1, 11)  # of 10 it would divide by 0
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=length, pct_start=0.1)
    part.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in track(range(steps), description=title) if title else range(steps):
            chosen = torch.randint(number, (size,)).to(values.device)
            value = loss(*({name: values[chosen] for name, values in half.items()} for half in kept))
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            cycle.step()
    part.eval()
    with torch.no_grad():
        after = loss(*held).item()
    if not after < before:
        part.load_state_dict(old)
    return steps, before, after
