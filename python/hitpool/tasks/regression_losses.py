"""Losses of a regression in the learned space, and what a network learns for them besides the value."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss, softplus

from hitpool.nn.precision import at_least_float32
from hitpool.tasks.target_space import TargetSpace

POINT_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {  # of the difference
    "cauchy": lambda difference: difference.square().log1p(),
    "l1": torch.abs,
    "l2": torch.square,
    "smooth_l1": lambda difference: smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none"),
}
LOSSES = (*sorted([*POINT_LOSSES, "gaussian", "quantile"]),)
QUANTILES = (0.16, 0.5, 0.84)
LARGEST_LOG = 15.0  # of the spread of a Gaussian in the learned space


class PointLoss:
    """A function of the difference between prediction and target; nothing is learned but the value.

    Args:
        space: The learned space.
        name: One of `POINT_LOSSES`.
    """

    columns = 0
    """Numbers E that are learned for each field besides the value."""

    def __init__(self, space: TargetSpace, name: str) -> None:
        self.space = space
        self.function = POINT_LOSSES[name]
        self.measured = [k for k, sign in enumerate(space.sign.tolist()) if not sign]

    def terms(self, difference: Tensor, shape: Tensor) -> Tensor:
        """Loss of each field.

        Args:
            difference: Prediction minus target in the learned space [..., K].
            shape: What is learned besides the value [..., K, E].

        Returns:
            [..., K].
        """
        return self.function(difference)

    @property
    def labels(self) -> list[str]:
        """What is predicted of each field besides the value: ends of the names."""
        return self.quantiles

    @property
    def quantiles(self) -> list[str]:
        """Those of `labels` that are quantiles."""
        return []

    @property
    def names(self) -> list[str]:
        """Names of what is predicted besides the values, of all fields but those of sign."""
        return [f"{self.space.fields[k]}_{label}" for label in self.labels for k in self.measured]

    def predictions(self, values: Tensor, learned: Tensor, shape: Tensor) -> dict[str, Tensor]:
        """Predictions in physical units besides the values.

        Args:
            values: Predictions [B, N, K] in physical units.
            learned: The same in the learned space.
            shape: [B, N, K, E].

        Returns:
            [B, N] by name.
        """
        found = self._physical(values, learned, at_least_float32(shape))
        return dict(zip(self.names, (column[..., k] for column in found for k in self.measured), strict=True))

    def _physical(self, values: Tensor, learned: Tensor, shape: Tensor) -> list[Tensor]:
        """[B, N, K] for each of `labels`."""
        return []


class GaussianLoss(PointLoss):
    r"""Negative logarithm of a normal distribution, $\log\sigma + (z - t)^2 / 2\sigma^2$; its $\sigma$ is learned.

    Predictions have the error `<field>_error`: sigma in physical units, by the derivative for inverse fields.

    Source: Nix and Weigend, Estimating the mean and variance of the target probability distribution (1994).
    """

    columns = 1

    def __init__(self, space: TargetSpace) -> None:
        super().__init__(space, "l2")

    def terms(self, difference: Tensor, shape: Tensor) -> Tensor:
        log = self._log(shape)
        return log + 0.5 * (difference * torch.exp(-log)).square()

    @property
    def labels(self) -> list[str]:
        return ["error"]

    def _physical(self, values: Tensor, learned: Tensor, shape: Tensor) -> list[Tensor]:
        error = self._log(shape).exp() * self.space.spread
        return [torch.where(self.space.inverse, values.square() * error, error)]

    @staticmethod
    def _log(shape: Tensor) -> Tensor:
        """Logarithm of sigma in the learned space [..., K], within bounds that no gradient jumps at."""
        return LARGEST_LOG * torch.tanh(shape.squeeze(-1) / LARGEST_LOG)


class QuantileLoss(PointLoss):
    r"""Mean over levels $\tau$ of $\max(\tau u, (\tau - 1) u)$ with u = target - quantile; the value is the median.

    Quantiles do not cross: each is the median and a sum of positive steps. Predictions have `<field>_q16` and so on,
    in physical units, of inverse fields too.

    Args:
        space: The learned space.
        levels: Between 0 and 1, ascending, symmetric about 0.5, which is one of them.

    Raises:
        ValueError: They are not.

    Source: Koenker and Bassett, Regression quantiles, Econometrica 46 (1978) 33.
    """

    def __init__(self, space: TargetSpace, levels: Sequence[float]) -> None:
        super().__init__(space, "l1")
        self.levels = list(levels)
        ascending = self.levels == sorted({level for level in self.levels if 0 < level < 1})
        asymmetry = math.dist(self.levels, [1 - level for level in reversed(self.levels)])
        if not ascending or 0.5 not in self.levels or asymmetry > 1e-9:
            raise ValueError(
                "regression: quantiles must be ascending between 0 and 1, symmetric about 0.5 and with it, got "
                f"{self.levels}"
            )
        self.columns = len(self.levels) - 1

    def terms(self, difference: Tensor, shape: Tensor) -> Tensor:
        upward = -difference.unsqueeze(-1) - self._steps(shape)  # target - quantile [..., K, E + 1]
        level = shape.new_tensor(self.levels)
        return torch.maximum(level * upward, (level - 1) * upward).mean(-1)

    @property
    def quantiles(self) -> list[str]:
        return [f"q{100 * level:g}".replace(".", "p") for level in self.levels if level != 0.5]

    def _physical(self, values: Tensor, learned: Tensor, shape: Tensor) -> list[Tensor]:
        steps = self._steps(shape)
        falls = self.space.inverse.unsqueeze(-1)  # [K, 1], where 1 / value is learned
        steps = torch.where(falls, steps.flip(-1), steps)
        columns = [self.space.decode(learned + step) for step in steps.unbind(-1)]
        return [column for column, level in zip(columns, self.levels, strict=True) if level != 0.5]

    def _steps(self, shape: Tensor) -> Tensor:
        """Quantiles minus median in the learned space [..., K, E + 1], ascending."""
        down, up = softplus(shape).chunk(2, dim=-1)
        middle = torch.zeros_like(shape[..., :1])
        return torch.cat([-down.flip(-1).cumsum(-1).flip(-1), middle, up.cumsum(-1)], dim=-1)
