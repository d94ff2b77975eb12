"""Mean and spread of the first particles that a training sees."""

import torch
from torch import Tensor

ENOUGH = 1000


class FirstParticles:
    """Sums over the particles of the first batches, from which mean and spread are known to a few percent.

    Args:
        training: Whether they are those of a training, of which the particles of all processes count.

    Example:
        >>> first = FirstParticles(training=True)
        >>> mean, spread = first.add(torch.tensor([[1.0], [3.0]]))
        >>> mean.tolist(), spread.tolist(), first.enough
        ([2.0], [1.0], False)
    """

    def __init__(self, training: bool) -> None:
        self.training = training
        self._sums: Tensor | None = None

    @property
    def enough(self) -> bool:
        """Whether the next particles no longer count."""
        return self._sums is not None and self._sums[0, 0].item() >= ENOUGH

    def add(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the particles of a batch.

        Args:
            values: [P, K]; P may be 0.

        Returns:
            Mean and spread of all particles so far, float64 [K]; where all have the same value the spread is 1.
        """
        values = values.detach().double()
        sums = torch.stack([torch.ones_like(values), values, values.square()]).sum(1)  # [3, K]
        if self.training and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        self._sums = sums if self._sums is None else self._sums + sums
        count, total, squares = self._sums
        mean = total / count.clamp(min=1)
        variance = squares / count.clamp(min=1) - mean.square()
        constant = variance <= 1e-12 * mean.square()  # but for rounding
        return mean, torch.where(constant, 1.0, variance).sqrt()
