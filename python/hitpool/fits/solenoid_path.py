"""Helices through the planes of the modules: where they cross, and how parameters and scattering move the crossing."""

from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 3  # of Newton's method
LEAST_SLOPE = 0.1  # cosine between normal and track, per unit of transverse path
LONGEST = 4.0  # m of transverse path


class ModuleHits(NamedTuple):
    """The K most probable hits of T tracks, float64 in m.

    Args:
        probability: Assignment probability p; 0 where the hit is not selected, [T, K].
        point: Measured points [T, K, 3].
        axes: Directions of both measured coordinates, [T, K, 2, 3].
        variance: Their variances [T, K, 2].
    """

    probability: Tensor
    point: Tensor
    axes: Tensor
    variance: Tensor


class Crossings(NamedTuple):
    """Where helices cross the planes of their hits.

    Args:
        path: Transverse path from the point closest to the beam line, in m, [T, K].
        point: x and y there, [T, K, 2].
        incidence: Cosine between track and normal of the module, [T, K].
        residual: Measured - crossed in both coordinates of the module, in m, [T, K, 2].
        projection: What a displacement of the helix changes in both coordinates, [T, K, 2, 3].
        derivative: What the parameters of the helix change in them, [T, K, 2, 5].
    """

    path: Tensor
    point: Tensor
    incidence: Tensor
    residual: Tensor
    projection: Tensor
    derivative: Tensor


def cross(helix: Tensor, hits: ModuleHits) -> Crossings:
    r"""Follows helices to the planes of their hits.

    With the transverse path s, $x + i y = i d_0 e^{i \phi} + s\, \mathrm{sinc}(\kappa s / 2)\, e^{i (\phi + \kappa s /
    2)}$ and $z = z_0 + s \cot\theta$.

    Args:
        helix: d0 and z0 in m, phi, cot(theta), curvature kappa in 1/m (positive: counterclockwise), [T, 5].
        hits: The hits.
    """
    d0, z0, phi, cot, kappa = (value.unsqueeze(1) for value in helix.unbind(-1))  # [T, 1]
    normal = torch.linalg.cross(hits.axes[..., 0, :], hits.axes[..., 1, :])  # [T, K, 3]
    radius = torch.hypot(hits.point[..., 0], hits.point[..., 1])
    path = radius / _sinc((kappa * radius / 2).clamp(-0.9, 0.9).asin())  # [T, K]

    def follow(path: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points, tangents per transverse path, and cosine between these and the normal."""
        chord, middle = path * _sinc(kappa * path / 2), phi + kappa * path / 2
        x, y = chord * middle.cos() - d0 * phi.sin(), chord * middle.sin() + d0 * phi.cos()
        turned = phi + kappa * path
        tangent = torch.stack([turned.cos(), turned.sin(), cot.expand_as(path)], dim=-1)
        slope = (normal * tangent).sum(-1)
        least = torch.where(slope < 0, -LEAST_SLOPE, LEAST_SLOPE)
        slope = torch.where(slope.abs() < LEAST_SLOPE, least, slope)
        return torch.stack([x, y, z0 + path * cot], dim=-1), tangent, slope

    for _ in range(STEPS):
        point, _, slope = follow(path)
        path = (path - (normal * (point - hits.point)).sum(-1) / slope).clamp(-LONGEST, LONGEST)
    point, tangent, slope = follow(path)
    along = (hits.axes @ tangent.unsqueeze(-1)).squeeze(-1) / slope.unsqueeze(-1)  # [T, K, 2]
    projection = hits.axes - along.unsqueeze(-1) * normal.unsqueeze(-2)
    x, y, _ = point.unbind(-1)
    zero, one = torch.zeros_like(path), torch.ones_like(path)
    shift = path.square() / 2 * (1 - (kappa * path).square() / 36)  # by the curvature, at the angle where it acts
    angle = phi + kappa * path * (2 / 3)
    changes = [
        torch.stack([-phi.sin() * one, phi.cos() * one, zero], dim=-1),
        torch.stack([zero, zero, one], dim=-1),
        torch.stack([-y, x, zero], dim=-1),
        torch.stack([zero, zero, path], dim=-1),
        torch.stack([-shift * angle.sin(), shift * angle.cos(), zero], dim=-1),
    ]
    return Crossings(
        path=path,
        point=point[..., :2],
        incidence=slope.abs() * (1 + cot.square()).rsqrt(),
        residual=(projection @ (hits.point - point).unsqueeze(-1)).squeeze(-1),
        projection=projection,
        derivative=projection @ torch.stack(changes, dim=-1),
    )


def kinks(helix: Tensor, crossings: Crossings) -> Tensor:
    r"""What kinks at the modules change behind them.

    A kink by the angle $\alpha$ across the plane of track and beam line turns the rest of the path by $\alpha /
    \sin\theta$ about the module; one by $\beta$ within the plane changes $\cot\theta$ by $-\beta / \sin^2\theta$ and,
    because the momentum stays, the curvature by $-\kappa \cot\theta\, \beta$.

    Args:
        helix: As for `cross`, [T, 5].
        crossings: Of its hits.

    Returns:
        Changes in m / rad, [T, 2 K, 2 K]: both coordinates of each hit, for the kinks across and then those within.
    """
    cot, kappa = helix[:, 3, None, None, None], helix[:, 4, None, None, None]  # [T, 1, 1, 1]
    places = (*crossings.point.unbind(-1), crossings.path)  # [T, K]
    dx, dy, ds = ((place.unsqueeze(2) - place.unsqueeze(1)).unsqueeze(2) for place in places)  # [T, K, 1, K]
    px, py, pz = crossings.projection.unsqueeze(-1).unbind(-2)  # [T, K, 2, 1]
    behind = (ds > 0).to(ds)
    ds = ds * behind
    turn = py * (dx * behind) - px * (dy * behind)  # [T, K, 2, K]
    across = (1 + cot.square()).sqrt() * turn
    within = -((1 + cot.square()) * pz + kappa * cot / 2 * turn) * ds
    return torch.cat([across, within], dim=-1).flatten(1, 2)


def _sinc(angle: Tensor) -> Tensor:
    """sin(x) / x."""
    return torch.sinc(angle / torch.pi)
