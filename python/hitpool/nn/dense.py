"""Fully connected network."""

from itertools import pairwise
from typing import cast

from torch import nn


class Dense(nn.Sequential):
    """Linear layers with SiLU in between, applied to the last dimension.

    Args:
        input_size: Features that come in.
        output_size: Features that go out.
        hidden_layers: Widths of the hidden layers; None for a single one, [] for a single linear layer.
        hidden_dim_scale: Width of the single hidden layer in units of `input_size`; used if `hidden_layers`
            is None.
        dropout: Probability of dropping a hidden feature in training.
        norm: Put a LayerNorm in front of every linear layer.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_layers: list[int] | None = None,
        hidden_dim_scale: int = 2,
        dropout: float = 0.0,
        norm: bool = False,
    ) -> None:
        if hidden_layers is None:
            hidden_layers = [hidden_dim_scale * input_size]
        sizes = [input_size, *hidden_layers, output_size]
        if min(sizes) < 1:
            raise ValueError(f"Dense: every layer needs at least one feature, got widths {sizes}")
        modules: list[nn.Module] = []
        for i, (size_in, size_out) in enumerate(pairwise(sizes)):
            if i > 0:
                modules.append(nn.SiLU())
                if dropout > 0:
                    modules.append(nn.Dropout(dropout))
            if norm:
                modules.append(nn.LayerNorm(size_in))
            modules.append(nn.Linear(size_in, size_out))
        super().__init__(*modules)
        self.input_size = input_size
        self.output_size = output_size

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the output."""
        return cast(nn.Linear, self[-1])
