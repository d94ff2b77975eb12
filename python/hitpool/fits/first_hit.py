"""The direction of the first hit of a track, as an estimate of the track's."""

import torch
from torch import Tensor, nn

from hitpool.nn.shapes import check_shapes


class FirstHit(nn.Module):
    r"""Direction from the origin to the assigned hit nearest to the beam line: what a regression can correct.

    $\eta = \mathrm{arsinh}(z / r)$ and $\phi = \mathrm{atan2}(y, x)$ with $r = \sqrt{x^2 + y^2}$; 0 for a track without
    hits. It is exact for a straight track from the origin; field, vertex and resolution are left to the regression.

    Args:
        points: Fields of the coordinates x, y and z, in any one unit, from the beam line.

    Raises:
        ValueError: `points` are not three fields.

    Example:
        >>> hits = torch.tensor([[[3.0, 3.0, 0.0], [1.0, 0.0, 1.0]]])  # the second is nearer
        >>> estimate = FirstHit()(hits, torch.tensor([[[9.0, 9.0], [9.0, -9.0]]]))
        >>> [[round(value, 3) for value in estimate[name][0].tolist()] for name in ("eta", "phi")]
        [[0.881, 0.0], [0.0, 0.785]]
    """

    gives = ("eta", "phi")

    def __init__(self, points: tuple[str, str, str] = ("x", "y", "z")) -> None:
        super().__init__()
        if len(points) != 3:
            raise ValueError(f"FirstHit: points must be the fields of x, y and z, got {points}")
        self.inputs = list(points)

    def forward(
        self, hits: Tensor, logits: Tensor, valid: Tensor | None = None, threshold: float = 0.1
    ) -> dict[str, Tensor]:
        """Take the first hit of all tracks.

        Args:
            hits: The fields `inputs` [B, M, 3]: x, y and z.
            logits: Assignment logits [B, N, M].
            valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
            threshold: Probability from which a hit takes part.

        Returns:
            `eta` and `phi` in (-pi, pi], [B, N] each.
        """
        check_shapes("FirstHit", {"hits": (hits, "B M F"), "logits": (logits, "B N M"), "valid": (valid, "B M")}, F=3)
        assigned = logits.detach().to(hits.dtype).sigmoid() >= threshold  # [B, N, M]
        if valid is not None:
            assigned = assigned & valid.unsqueeze(1)
            hits = hits.masked_fill(~valid.unsqueeze(-1), 0)
        distance = torch.where(assigned, torch.hypot(hits[..., 0], hits[..., 1]).unsqueeze(1), torch.inf)  # [B, N, M]
        far = torch.finfo(hits.dtype).max  # of what stands for the hit of a track without hits
        first = torch.nn.functional.pad(distance, (0, 1), value=far).argmin(dim=-1, keepdim=True)  # [B, N, 1]
        points = torch.nn.functional.pad(hits, (0, 0, 0, 1))  # [B, M + 1, 3]
        x, y, z = points.gather(1, first.expand(-1, -1, 3)).unbind(-1)  # [B, N]
        x = torch.where(assigned.any(-1), x, 1.0)
        return {"eta": torch.asinh(z / torch.hypot(x, y)), "phi": torch.atan2(y, x)}

    def check(self, hits: Tensor) -> None:
        """Nothing to check: a direction has no unit."""
