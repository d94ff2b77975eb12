"""Floating-point types of layers and of what they read."""

import torch
from torch import Tensor, nn


def layer_dtype(layers: nn.Module) -> torch.dtype:
    """Type of the numbers of some layers, to which what they read has to be brought.

    Args:
        layers: Layers with parameters or buffers of one type; float32 if there are none.

    Example:
        >>> layer_dtype(nn.Linear(2, 3).double())
        torch.float64
    """
    number = next(layers.parameters(), next(layers.buffers(), None))
    return torch.float32 if number is None else number.dtype


def precise_dtype(layers: nn.Module, owner: str) -> torch.dtype:
    """Type of the numbers of layers that read coordinates or give parameters of tracks.

    Args:
        layers: As for `layer_dtype`.
        owner: Whose layers they are, for the message.

    Returns:
        float32 or float64.

    Raises:
        TypeError: It is another one, in which coordinates would be rounded, those of 6 m to 31 mm in bfloat16.
    """
    dtype = layer_dtype(layers)
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{owner}: expected layers in float32 or float64, got {dtype}, in which coordinates are rounded (31 mm at "
            "6 m in bfloat16); for speed use mixed precision: autocast, or trainer.precision bf16-mixed"
        )
    return dtype


def at_least_float32(values: Tensor) -> Tensor:
    """Values as float32; float64 stays as it is.

    Args:
        values: Numbers of any type and shape.

    Example:
        >>> at_least_float32(torch.tensor([1, 2])).dtype, at_least_float32(torch.tensor(1.0).double()).dtype
        (torch.float32, torch.float64)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
