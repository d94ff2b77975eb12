"""Mean and spread of the targets from the first particles of a training, in which nobody gives all of them."""

import warnings

import torch
from torch import Tensor

from hitpool.tasks.target_space import TargetSpace

ENOUGH = 1000


class FirstParticles:
    """Gives a target space mean and spread, which 1,000 particles tell to a few percent.

    The first of a training count, over all processes, those of evaluations in between do not. What an evaluation in
    front of the training takes from its own particles is forgotten when the training begins.

    Args:
        space: Gets the numbers, if its `standardize` is true and it has none, say from a checkpoint.
    """

    def __init__(self, space: TargetSpace) -> None:
        self.space = space
        self.training = False  # whether the sums are those of a training
        self._sums: Tensor | None = None

    @torch.no_grad()
    def learn(self, physical: Tensor, training: bool) -> None:
        """Takes the particles of a batch, if they count.

        Args:
            physical: Targets [P, K] in physical units; P may be 0, and what cannot be learned does not count. Where all
                have the same value the spread is 1.
            training: Whether they are trained on.
        """
        before = self._sums
        if self.space.standardize is not True or (before is None and not self.space.spread.isnan().any()):
            return
        if before is not None and self.training and (not training or before[0].max().item() >= ENOUGH):
            return
        if before is None and not training:
            warnings.warn(
                "standardize is true and nothing was trained yet: until then mean and spread of the targets are those "
                "of the evaluated particles",
                stacklevel=2,
            )
        if training and not self.training:
            self.training, self._sums = True, None
        values = torch.where(self.space.inverse, 1 / physical, physical).double()
        powers = torch.stack([torch.ones_like(values), values, values.square()])  # [3, P, K]
        sums = torch.where(self.space.learnable(physical), powers, 0.0).sum(1)  # [3, K]
        if training and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        self._sums = sums if self._sums is None else self._sums + sums
        count, total, squares = self._sums
        mean = total / count.clamp(min=1)
        variance = squares / count.clamp(min=1) - mean.square()
        spread = torch.where(variance <= 1e-12 * mean.square(), 1.0, variance).sqrt()  # 0 but for rounding
        # new tensors, because an autograd graph may hold the old ones
        self.space.mean = torch.where(self.space.sign, 0.0, mean).to(self.space.mean.dtype)
        self.space.spread = torch.where(self.space.sign, 1.0, spread).to(self.space.spread.dtype)
