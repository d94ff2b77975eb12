"""Map of the magnetic field that is learned from tracks."""

import math

import torch
from torch import Tensor, nn

from hitpool.fits.field import BoxToroid, FieldMap, TabulatedField

STEP, MARGIN = 0.2, 1.0  # m, of the table of boxes, and what it has around them


class LearnedField(TabulatedField):
    r"""Start field times a smooth factor, which the second phase of `hitpool fit` learns through the fit of the tracks.

    $$B = B_\mathrm{start}\, e^{f(r, z, \phi)},$$

    with f linear between equidistant knots on the table of the start field. Until it is trained, f is 0.

    Args:
        start: Field where it starts, and which holds where no track passes; None for `BoxToroid`, which is tabulated in
            steps of 0.2 m.
        knots: Number of knots in r, z and in phi within a period.
        periods: Repetitions of the field around the beam line, for a `BoxToroid`; a `FieldMap` has its own.

    Raises:
        ValueError: There are too few knots, `periods` is below 1, or `start` is another kind of field.

    Example:
        >>> field = LearnedField(BoxToroid(barrel=3.5))
        >>> place = torch.tensor([7.0, 0.0, 0.0]).unsqueeze(-1)
        >>> before = field(*place)
        >>> with torch.no_grad():
        ...     _ = field.log_factors.fill_(0.1)
        >>> round((field(*place) / before).item(), 3)
        1.105
    """

    start: Tensor
    r_shares: Tensor
    z_shares: Tensor
    phi_shares: Tensor

    def __init__(
        self,
        start: BoxToroid | FieldMap | None = None,
        knots: tuple[int, int, int] = (6, 8, 6),
        periods: int = 8,
    ) -> None:
        if len(knots) != 3 or min(knots[0], knots[1]) < 2 or knots[2] < 1:
            raise ValueError(f"LearnedField: knots must be at least 2 in r, 2 in z and 1 in phi, got {knots}")
        if periods < 1:
            raise ValueError(f"LearnedField: periods must be at least 1, got {periods}")
        start = BoxToroid() if start is None else start
        if isinstance(start, FieldMap):
            grids, values, mirrored = (start.r_grid, start.z_grid, start.phi_grid), start.values, start.mirrored
        elif isinstance(start, BoxToroid):
            grids, values, mirrored = *_tabulate(start, knots[2], 2 * math.pi / periods), True
        else:
            raise ValueError(f"LearnedField: start must be a BoxToroid or a FieldMap, got {type(start).__name__}")
        super().__init__(*grids, mirrored)
        self.register_buffer("start", values, persistent=False)
        for name, grid, number in zip(("r", "z"), grids[:2], knots[:2], strict=True):
            place = (grid - grid[0]) / (grid[-1] - grid[0]) * (number - 1)
            self.register_buffer(f"{name}_shares", _hat(place, number), persistent=False)
        place = (grids[2] - grids[2][0]) / self.period * knots[2]
        wrapped = _hat(place, knots[2] + 1)
        wrapped[:, 0] += wrapped[:, -1]
        self.register_buffer("phi_shares", wrapped[:, :-1].contiguous(), persistent=False)
        self.log_factors = nn.Parameter(torch.zeros(*knots), requires_grad=False)  # until the second phase

    @property
    def values(self) -> Tensor:  # type: ignore[override]
        """The table [R, Z, P + 1] in T."""
        factors = self.log_factors.to(self.start.dtype) @ self.phi_shares.mT  # [Kr, Kz, P + 1]
        factors = self.r_shares @ (self.z_shares @ factors).flatten(1)  # [R, Z (P + 1)]
        return self.start * factors.view_as(self.start).exp()


def _tabulate(field: BoxToroid, azimuths: int, period: float) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Grids in r, z and phi, and the field there."""
    (inner, outer, end), (inner_endcap, outer_endcap, _, end_endcap) = field.barrel_box, field.endcap_box
    low = max(0.0, min(inner, inner_endcap) - MARGIN)
    r, z = (
        torch.linspace(first, last, math.ceil((last - first) / STEP) + 1, dtype=torch.float64)
        for first, last in ((low, max(outer, outer_endcap) + MARGIN), (0.0, max(end, end_endcap) + MARGIN))
    )
    phi = torch.arange(azimuths + 1, dtype=torch.float64) * (period / azimuths)
    return (r, z, phi), field(*torch.meshgrid(r, z, phi, indexing="ij"))


def _hat(place: Tensor, number: int) -> Tensor:
    """Shares of the neighbouring ones of some knots at places in units of their distance, [G, number]."""
    return (1 - (place.unsqueeze(-1) - torch.arange(number)).abs()).clamp(min=0)
