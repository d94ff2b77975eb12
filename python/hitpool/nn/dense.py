"""Fully connected network."""

from itertools import pairwise
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn.functional import silu

Activation = Literal["silu", "relu", "gelu", "swiglu"]
HiddenNorm = Literal["hidden"]


class SwiGLU(nn.Module):
    """First half of the features times SiLU of the second, the gate: [..., 2 W] to [..., W].

    Source: Shazeer, GLU variants improve transformer (arXiv:2002.05202).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Applies the gate.

        Args:
            x: [..., 2 W].

        Returns:
            [..., W].
        """
        value, gate = x.chunk(2, dim=-1)
        return value * silu(gate)


ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU, "gelu": nn.GELU, "swiglu": SwiGLU}


class Dense(nn.Sequential):
    """Linear layers with an activation in between, applied to the last dimension.

    Args:
        input_size: Features that come in.
        output_size: Features that go out.
        hidden_layers: Widths of the hidden layers; None for a single one, [] for a single linear layer.
        hidden_dim_scale: Width of the single hidden layer in units of `input_size`; used if `hidden_layers`
            is None.
        dropout: Probability of dropping a hidden feature in training.
        norm: Put a LayerNorm in front of every linear layer; `hidden`: behind every activation, in front of the
            dropout.
        activation: Behind every linear layer but the last. In front of `swiglu` a layer has twice its width, for
            gates and values.

    Raises:
        ValueError: A width is below 1, or the activation or the norm does not exist.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_layers: list[int] | None = None,
        hidden_dim_scale: int = 2,
        dropout: float = 0.0,
        norm: bool | HiddenNorm = False,
        activation: Activation = "silu",
    ) -> None:
        if hidden_layers is None:
            hidden_layers = [hidden_dim_scale * input_size]
        sizes = [input_size, *hidden_layers, output_size]
        if min(sizes) < 1:
            raise ValueError(f"Dense: every layer needs at least one feature, got widths {sizes}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"Dense: activation {activation} does not exist; choose from {', '.join(ACTIVATIONS)}")
        if not (isinstance(norm, bool) or norm == "hidden"):
            raise ValueError(f"Dense: norm must be true, false or hidden, got {norm}")
        modules: list[nn.Module] = []
        last = len(hidden_layers)
        for i, (size_in, size_out) in enumerate(pairwise(sizes)):
            if norm is True:
                modules.append(nn.LayerNorm(size_in))
            gated = activation == "swiglu" and i < last
            modules.append(nn.Linear(size_in, 2 * size_out if gated else size_out))
            if i < last:
                modules.append(ACTIVATIONS[activation]())
                if norm == "hidden":
                    modules.append(nn.LayerNorm(size_out))
                if dropout > 0:
                    modules.append(nn.Dropout(dropout))
        super().__init__(*modules)
        self.input_size = input_size
        self.output_size = output_size
        self.activation = activation
        self.norm = norm

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the output."""
        return cast(nn.Linear, self[-1])
