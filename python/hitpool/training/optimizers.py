"""Optimisers that do not cut small parameters into parts for several threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lion_pytorch
import torch

GRAIN = 32_768  # elements of a parameter from which threads save more than they cost


class _OnCallingThread(torch.optim.Optimizer):
    """Updates parameters on the calling thread if all are small: torch's kernels start the threads for each of them."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Evaluates the closure, if there is one, with all threads, and makes a step.

        Args:
            closure: Computes the gradients and returns the loss.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        small = all(parameter.numel() < GRAIN for group in self.param_groups for parameter in group["params"])
        with _threads(1 if small else torch.get_num_threads()):
            super().step()
        return loss


class AdamW(_OnCallingThread, torch.optim.AdamW):
    """AdamW of torch (Loshchilov and Hutter, arXiv:1711.05101)."""


class Lion(_OnCallingThread, lion_pytorch.Lion):
    """Lion (Chen et al., arXiv:2302.06675)."""


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
