"""Position encoding of hits."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hitpool.nn.fields import stack_fields
from hitpool.nn.precision import precise_dtype


class PositionEncoder(nn.Module):
    r"""Sines and cosines of chosen fields at geometrically spaced frequencies.

    Each of the P fields and angles gets K = dim // (2 P) frequencies
    $\omega_k = \alpha\, b^{-k/(K-1)}$, k = 0 ... K-1, from `alpha` down to `alpha / base`. For symmetric
    fields and angles they are rounded to whole numbers, so that an angle of $-\pi$ and one of $+\pi$ have the
    same encoding. Features that are left over are 0.

    Args:
        input_name: Kind of input, such as `hit`; field f is read from `<input_name>_<f>`.
        dim: Features D of the encoding.
        fields: Fields to encode.
        sym_fields: Those of `fields` that are angles with period 2 pi.
        alpha: Highest frequency, in radians per unit of the field.
        base: Highest over lowest frequency.
        angles: Cosine and sine of further angles to encode, a pair of fields each.

    Source: Vaswani et al., Attention is all you need, section 3.5 (arXiv:1706.03762).
    """

    frequencies: Tensor

    def __init__(
        self,
        input_name: str,
        dim: int,
        fields: list[str],
        sym_fields: list[str] | None = None,
        alpha: float = 100.0,
        base: float = 100.0,
        angles: list[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__()
        sym_fields = sym_fields or []
        if not fields:
            raise ValueError("PositionEncoder: fields is empty, name at least one field to encode")
        if unknown := [field for field in sym_fields if field not in fields]:
            raise ValueError(f"PositionEncoder: sym_fields {unknown} are not among fields {fields}")
        angles = angles or []
        size = len(fields) + len(angles)
        count = dim // (2 * size)
        if count < 1:
            raise ValueError(f"PositionEncoder: {size} fields need dim >= {2 * size}, got dim = {dim}")
        if alpha <= 0 or base < 1:
            raise ValueError(f"PositionEncoder: needs alpha > 0 and base >= 1, got alpha = {alpha}, base = {base}")
        self.input_name = input_name
        self.dim = dim
        self.fields = list(fields)
        self.angles = [field for pair in angles for field in pair]
        geometric = alpha * base ** -torch.linspace(0, 1, count, dtype=torch.float64)  # [K]
        harmonic = geometric.round().clamp(min=1)
        rows = [harmonic if field in sym_fields else geometric for field in fields] + [harmonic] * len(angles)
        self.register_buffer("frequencies", torch.stack(rows).float(), persistent=False)  # [P, K]

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Encode all hits of a batch.

        Args:
            inputs: `<input_name>_<field>` [B, M] for each field, those of the angles included, and
                `<input_name>_valid` bool [B, M]; what padded hits hold has no influence.

        Returns:
            The encoding [B, M, D].

        Raises:
            TypeError: The encoder was brought to a type below float32.
        """
        valid = inputs.get(f"{self.input_name}_valid")
        values = stack_fields(inputs, self.input_name, self.fields, valid)
        if self.angles:
            pairs = stack_fields(inputs, self.input_name, self.angles, valid)
            cosine, sine = pairs.unflatten(-1, (-1, 2)).unbind(-1)
            values = torch.cat([values, torch.atan2(sine, cosine)], dim=-1)  # [B, M, P]
        angle = values.to(precise_dtype(self, "PositionEncoder")).unsqueeze(-1) * self.frequencies  # [B, M, P, K]
        encoding = torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)  # [B, M, 2 P K]
        return nn.functional.pad(encoding, (0, self.dim - 2 * self.frequencies.numel()))
