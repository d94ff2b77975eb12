"""Maps of the magnetic field of a toroid spectrometer."""

import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

LARGEST_FIELD, LARGEST = 20.0, 100.0  # T, m
AXES = ("r", "z", "phi")


class BoxToroid(nn.Module):
    r"""Crude field of a barrel and two end-cap toroids: strength / r inside boxes with soft edges, the same all around.

    It is enough for a fit whose response is learned; docs/toroid.md says what other maps bring.

    Args:
        barrel: $B r$ of the barrel in T m.
        endcap: $B r$ of the end caps in T m.
        barrel_box: Inner and outer radius, and half-length in m.
        endcap_box: Inner and outer radius, and inner and outer |z| in m.
        softness: Distance over which the field falls at an edge in m.

    Raises:
        ValueError: A box is empty, or `softness` is not positive.

    Example:
        >>> BoxToroid(barrel=3.5)(torch.tensor(7.0), torch.tensor(0.0), torch.tensor(0.0))
        tensor(0.5000)
    """

    def __init__(
        self,
        barrel: float = 3.4,
        endcap: float = 2.2,
        barrel_box: tuple[float, float, float] = (4.8, 10.0, 12.5),
        endcap_box: tuple[float, float, float, float] = (0.9, 5.2, 8.0, 13.0),
        softness: float = 0.2,
    ) -> None:
        super().__init__()
        if not (barrel_box[0] < barrel_box[1] and endcap_box[0] < endcap_box[1] and endcap_box[2] < endcap_box[3]):
            raise ValueError(f"BoxToroid: expected inner below outer edges, got {barrel_box} and {endcap_box}")
        if not softness > 0:
            raise ValueError(f"BoxToroid: softness must be positive, got {softness}")
        self.barrel, self.endcap = barrel, endcap
        self.barrel_box, self.endcap_box = tuple(barrel_box), tuple(endcap_box)
        self.softness = softness

    def forward(self, r: Tensor, z: Tensor, phi: Tensor) -> Tensor:
        """Azimuthal field.

        Args:
            r: Distance from the beam line in m.
            z: Coordinate along the beam line in m, same shape.
            phi: Azimuth in rad, broadcastable; it has no influence.

        Returns:
            Field in T, positive where it bends positive particles to larger z, same shape as `r`.
        """
        r, length = r.clamp(min=0.3), z.abs()
        inner, outer, start, end = self.endcap_box
        endcap = self._edge(r - inner) * self._edge(outer - r) * self._edge(length - start) * self._edge(end - length)
        inner, outer, end = self.barrel_box
        barrel = self._edge(r - inner) * self._edge(outer - r) * self._edge(end - length)
        return (self.barrel * (1 - endcap) * barrel + self.endcap * endcap) / r

    def numbers(self) -> tuple[list[float], list[Tensor]]:
        """What defines the field, as `hitpool.ops.toroid_fit` takes it: ten numbers and no table."""
        return [self.barrel, self.endcap, *self.barrel_box, *self.endcap_box, self.softness], []

    def _edge(self, distance: Tensor) -> Tensor:
        return torch.sigmoid(distance / self.softness)


class TabulatedField(nn.Module):
    """Field interpolated linearly in r, z and phi, from the table `values` [R, Z, P + 1] in T of a subclass.

    Args:
        r_grid: Sorted places [R] in m. Outside of the grid in r or z the field is 0.
        z_grid: Likewise [Z].
        phi_grid: Sorted azimuths [P + 1] in rad, the last one a period after the first.
        mirrored: The table is for z >= 0 and the same at -z.
    """

    r_grid: Tensor
    z_grid: Tensor
    phi_grid: Tensor
    values: Tensor

    def __init__(self, r_grid: Tensor, z_grid: Tensor, phi_grid: Tensor, mirrored: bool) -> None:
        super().__init__()
        self.mirrored = mirrored
        self.period = (phi_grid[-1] - phi_grid[0]).item()
        for name, grid in zip(AXES, (r_grid, z_grid, phi_grid), strict=True):
            self.register_buffer(f"{name}_grid", grid, persistent=False)

    def forward(self, r: Tensor, z: Tensor, phi: Tensor) -> Tensor:
        """Azimuthal field; see `BoxToroid.forward`."""
        if self.mirrored:
            z = z.abs()
        start = self.phi_grid[0]
        phi = start + torch.remainder(phi - start, self.period)
        (i, u), (j, v), (k, w) = (
            self._place(grid, value.expand_as(r).contiguous())
            for grid, value in zip((self.r_grid, self.z_grid, self.phi_grid), (r, z, phi), strict=True)
        )
        values = self.values
        row, line = values[0].numel(), values.shape[2]
        first = i * row + j * line + k
        field = torch.zeros_like(r)
        for step_r, share_r in ((0, 1 - u), (row, u)):
            for step_z, share_z in ((0, 1 - v), (line, v)):
                for step_phi, share_phi in ((0, 1 - w), (1, w)):
                    corner = values.take(first + (step_r + step_z + step_phi)).to(r.dtype)
                    field = field + share_r * share_z * share_phi * corner
        inside = (r >= self.r_grid[0]) & (r <= self.r_grid[-1]) & (z >= self.z_grid[0]) & (z <= self.z_grid[-1])
        return torch.where(inside, field, 0.0)

    def numbers(self) -> tuple[list[float], list[Tensor]]:
        """What defines the field, as `hitpool.ops.toroid_fit` takes it: period and mirrored, and the table."""
        table = [self.r_grid, self.z_grid, self.phi_grid, self.values]
        return [self.period, float(self.mirrored)], [tensor.double() for tensor in table]

    def _place(self, grid: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Number of the cell and the place in it from 0 to 1."""
        grid = grid.to(value.dtype)
        cell = torch.searchsorted(grid[1:-1], value.detach(), right=True)
        return cell, ((value - grid[cell]) / (grid[cell + 1] - grid[cell])).clamp(0, 1)


class FieldMap(TabulatedField):
    """Tabulated field, interpolated linearly in r, z and phi.

    Args:
        file: NumPy archive (.npz) with the sorted grids `r` [R] and `z` [Z] in m and `phi` [P] in rad, each of at
            least two points, and the azimuthal field `B` [R, Z, P] in T, positive where it bends positive particles
            to larger z. Outside of the grid in r or z the field is 0.
        periods: Repetitions of the table around the beam line; `phi` covers one of them, from 0, without its end.
        mirrored: The table is for z >= 0 and the same at -z.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It lacks an array, or their shapes or orders are wrong.
    """

    def __init__(self, file: str, periods: int = 8, mirrored: bool = True) -> None:
        if not Path(file).is_file():
            raise FileNotFoundError(f"field map {file} does not exist")
        if not zipfile.is_zipfile(file):
            raise ValueError(f"field map {file}: expected a NumPy archive (.npz) with the arrays r, z, phi and B")
        if periods < 1:
            raise ValueError(f"field map {file}: periods must be at least 1, got {periods}")
        with np.load(Path(file), allow_pickle=False) as arrays:
            if missing := [name for name in (*AXES, "B") if name not in arrays]:
                raise ValueError(f"field map {file}: no arrays {missing}, only {sorted(arrays)}")
            grids = [torch.from_numpy(np.asarray(arrays[name], dtype=np.float64)) for name in AXES]
            values = torch.from_numpy(np.asarray(arrays["B"], dtype=np.float64))
        for name, grid in zip(AXES, grids, strict=True):
            if grid.dim() != 1 or len(grid) < 2 or not (grid.diff() > 0).all():
                raise ValueError(f"field map {file}: {name} must be a sorted list of at least two points")
        if values.shape != tuple(map(len, grids)) or not values.isfinite().all():
            raise ValueError(
                f"field map {file}: B must be finite [r, z, phi] = {[len(g) for g in grids]}, got {list(values.shape)}"
            )
        if values.abs().max() > LARGEST_FIELD or max(grids[0][-1], grids[1][-1]) > LARGEST:
            raise ValueError(
                f"field map {file}: B reaches {values.abs().max():g}, r {grids[0][-1]:g} and z {grids[1][-1]:g}; "
                f"expected T, at most {LARGEST_FIELD:g}, and m, at most {LARGEST:g}"
            )
        period = 2 * math.pi / periods
        if not 0 <= grids[2][0] < grids[2][-1] < period:
            raise ValueError(f"field map {file}: phi must lie in [0, {period:.4g}), one of {periods} periods")
        super().__init__(grids[0], grids[1], torch.cat([grids[2], grids[2][:1] + period]), mirrored)
        self.register_buffer("values", torch.cat([values, values[..., :1]], dim=-1), persistent=False)
