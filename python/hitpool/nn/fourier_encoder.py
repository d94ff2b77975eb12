"""Position encoding of hits by random Fourier features."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hitpool.nn.fields import stack_fields
from hitpool.nn.precision import precise_dtype


class FourierPositionEncoder(nn.Module):
    r"""Sines and cosines of random combinations of the fields: $\sin(2\pi\, x B)$ and $\cos(2\pi\, x B)$.

    B [P, D/2] is drawn once from a normal distribution with standard deviation `scale`; it is not trained, and is saved
    with the weights. Hits closer than about $1 / (2\pi\,\mathrm{scale})$ units of the fields have similar encodings.

    Args:
        input_name: Kind of input, such as `hit`; field f is read from `<input_name>_<f>`.
        dim: Features D of the encoding, an even number.
        fields: Fields to encode, P of them; an angle by its cosine and sine, because the encoding is not periodic.
        scale: Standard deviation of B.

    Raises:
        ValueError: `fields` is empty, `dim` is odd or below 2, or `scale` is not positive.

    Source: Tancik et al., Fourier features let networks learn high frequency functions (arXiv:2006.10739).

    Example:
        >>> encoder = FourierPositionEncoder("hit", dim=4, fields=["r"], scale=0.0001)
        >>> encoder({"hit_r": torch.tensor([[1.0]])}).round(decimals=1).abs().tolist()
        [[[0.0, 0.0, 1.0, 1.0]]]
    """

    frequencies: Tensor

    def __init__(self, input_name: str, dim: int, fields: list[str], scale: float = 1.0) -> None:
        super().__init__()
        if not fields:
            raise ValueError("FourierPositionEncoder: fields is empty, name at least one field to encode")
        if dim < 2 or dim % 2:
            raise ValueError(f"FourierPositionEncoder: dim must be an even number above 0, got {dim}")
        if not 0 < scale < math.inf:
            raise ValueError(f"FourierPositionEncoder: scale must be positive, got {scale}")
        self.input_name = input_name
        self.dim = dim
        self.fields = list(fields)
        self.register_buffer("frequencies", scale * torch.randn(len(fields), dim // 2))  # [P, D/2]

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Encode all hits of a batch.

        Args:
            inputs: `<input_name>_<field>` [B, M] for each field, and `<input_name>_valid` bool [B, M]; what padded hits
                hold has no influence.

        Returns:
            The encoding [B, M, D].

        Raises:
            TypeError: The encoder was brought to a type below float32.
        """
        values = stack_fields(inputs, self.input_name, self.fields, inputs.get(f"{self.input_name}_valid"))
        dtype = precise_dtype(self, "FourierPositionEncoder")
        angle = 2 * math.pi * values.to(dtype) @ self.frequencies  # [B, M, D/2]
        return torch.cat([angle.sin(), angle.cos()], dim=-1)
