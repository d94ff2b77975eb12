"""Position encoding of hits."""

import torch
from torch import Tensor, nn

from hitpool.nn.fields import stack_fields
from hitpool.nn.precision import precise_dtype


class PositionEncoder(nn.Module):
    r"""Sines and cosines of chosen fields at geometrically spaced frequencies.

    Each of the P fields gets K = dim // (2 P) frequencies
    $\omega_k = \alpha\, b^{-k/(K-1)}$, k = 0 ... K-1, from `alpha` down to `alpha / base`. For symmetric
    fields they are rounded to whole numbers, so that an angle of $-\pi$ and one of $+\pi$ have the same
    encoding. Features that are left over are 0.

    Args:
        input_name: Kind of input, such as `hit`; field f is read from `<input_name>_<f>`.
        dim: Features D of the encoding.
        fields: Fields to encode.
        sym_fields: Those of `fields` that are angles with period 2 pi.
        alpha: Highest frequency, in radians per unit of the field.
        base: Highest over lowest frequency.

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
    ) -> None:
        super().__init__()
        sym_fields = sym_fields or []
        if not fields:
            raise ValueError("PositionEncoder: fields is empty, name at least one field to encode")
        if unknown := [field for field in sym_fields if field not in fields]:
            raise ValueError(f"PositionEncoder: sym_fields {unknown} are not among fields {fields}")
        count = dim // (2 * len(fields))
        if count < 1:
            raise ValueError(f"PositionEncoder: {len(fields)} fields need dim >= {2 * len(fields)}, got dim = {dim}")
        if alpha <= 0 or base < 1:
            raise ValueError(f"PositionEncoder: needs alpha > 0 and base >= 1, got alpha = {alpha}, base = {base}")
        self.input_name = input_name
        self.dim = dim
        self.fields = list(fields)
        geometric = alpha * base ** -torch.linspace(0, 1, count, dtype=torch.float64)  # [K]
        harmonic = geometric.round().clamp(min=1)
        rows = [harmonic if field in sym_fields else geometric for field in fields]
        self.register_buffer("frequencies", torch.stack(rows).float(), persistent=False)  # [P, K]

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Encode all hits of a batch.

        Args:
            inputs: `<input_name>_<field>` [B, M] for each field, and `<input_name>_valid` bool [B, M]; what padded
                hits hold has no influence.

        Returns:
            The encoding [B, M, D].

        Raises:
            TypeError: The encoder was brought to a type below float32.
        """
        valid = inputs.get(f"{self.input_name}_valid")
        fields = stack_fields(inputs, self.input_name, self.fields, valid)  # [B, M, P]
        angle = fields.to(precise_dtype(self, "PositionEncoder")).unsqueeze(-1) * self.frequencies  # [B, M, P, K]
        encoding = torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)  # [B, M, 2 P K]
        return nn.functional.pad(encoding, (0, self.dim - 2 * self.frequencies.numel()))
