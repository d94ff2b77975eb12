"""Tracks through the toroids: Nyström steps in path length, all tracks at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitpool.simulation.field import toroid_field
from hitpool.simulation.material import PLANES_T, PLANES_Z, Line, Passage, kick_paths
from hitpool.simulation.settings import Settings
from hitpool.simulation.truth import Muons

BEND = 0.2998  # GeV / (T m)
PATH_LENGTH = 27.0
PLANES_T_MAX_Z = 13.0


@dataclass(frozen=True)
class Plan:
    """Grid points at which a track is scattered and loses energy.

    A derivative with respect to a track parameter needs the plan of the nominal track: left free, a kick
    jumps by one grid point and the derivative has spikes.

    Args:
        calorimeter: Grid points of both kicks, [T, 2].
        loss: Grid point of the energy loss, [T].
        spectrometer: Grid points of the kicks at the 8 material planes, [T, 8]; the number of grid points
            where a plane is not crossed.
    """

    calorimeter: NDArray[np.int64]
    loss: NDArray[np.int64]
    spectrometer: NDArray[np.int64]


@dataclass(frozen=True)
class Trajectory:
    """Tracks on a grid of path length s = 0, step, 2 step, ...

    Args:
        t: Transverse path length along the line (m), [T, G].
        z: Position along the beam (m), [T, G].
        dip: Dip angle, tan(dip) = dz/dt (rad), [T, G].
        line: Transverse projection.
        plan: Where the tracks were scattered; None for straight tracks.
    """

    t: NDArray[np.float64]
    z: NDArray[np.float64]
    dip: NDArray[np.float64]
    line: Line
    plan: Plan | None = None


def propagate(
    q_over_p: NDArray[np.float64],
    dip: NDArray[np.float64],
    z0: NDArray[np.float64],
    passage: Passage,
    step: float = 0.10,
    ripple: float = 0.10,
    plan: Plan | None = None,
) -> Trajectory:
    """Integrate d(dip)/ds = 0.2998 q B / p along the path s.

    A step h takes the field at its start, middle and end: the position moves along the mean direction
    dip + h k (B_0 + 2 B_1/2) / 6, the dip angle changes by h k (B_0 + 4 B_1/2 + B_1) / 6 (Nyström's method with
    Simpson weights). This needs no more evaluations of the field than midpoint steps.

    Args:
        q_over_p: Charge over momentum at the vertex (1/GeV), [T].
        dip: Dip angle at the vertex, atan(sinh(eta)) (rad), [T].
        z0: Position of the vertex (m), [T].
        passage: Line, energy loss and kicks.
        step: Step (m).
        ripple: Modulation of the barrel field.
        plan: Where to scatter; by default where the tracks cross the material.

    Returns:
        Trajectory over 27 m of path, with the plan that was followed.
    """
    steps = round(PATH_LENGTH / step)
    charge = np.sign(q_over_p)
    momentum = 1.0 / np.abs(q_over_p)
    scale = BEND * charge / momentum
    scale_behind = BEND * charge / (momentum - passage.energy_loss)
    cos_phi, sin_phi = np.cos(passage.line.phi), np.sin(passage.line.phi)

    if plan is None:
        calorimeter = np.rint(kick_paths(passage.calorimeter_path) / step).astype(np.int64)
        loss = np.rint(passage.calorimeter_path.mean(axis=1) / step).astype(np.int64)
        spectrometer = np.full((dip.size, PLANES_T.size + PLANES_Z.size), steps + 1)
    else:
        calorimeter, loss, spectrometer = plan.calorimeter, plan.loss, plan.spectrometer
    last_in_calorimeter = int(max(calorimeter.max(initial=0), loss.max(initial=0)))
    crossed = np.zeros((PLANES_T.size + PLANES_Z.size, dip.size), dtype=bool)

    def field(t: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        return toroid_field(passage.line.foot_x + t * cos_phi, passage.line.foot_y + t * sin_phi, z, ripple)

    dip, z, t = dip.copy(), z0.copy(), np.zeros_like(dip)
    start = field(t, z)
    grid = np.empty((3, steps + 1, dip.size))
    for i in range(steps + 1):
        if i <= last_in_calorimeter:
            scale = np.where(loss == i, scale_behind, scale)
            dip = dip + np.where(calorimeter == i, passage.calorimeter_kicks, 0.0).sum(axis=1)
        if plan is None:
            first = _planes_reached(t, z) & ~crossed
            if first.any():
                crossed |= first
                first[: PLANES_T.size] &= np.abs(z) < PLANES_T_MAX_Z
                plane, track = np.nonzero(first)
                spectrometer[track, plane] = i
                dip = dip + np.where(first.T, passage.spectrometer_kicks, 0.0).sum(axis=1)
        else:
            dip = dip + np.where(spectrometer == i, passage.spectrometer_kicks, 0.0).sum(axis=1)
        grid[:, i] = t, z, dip
        if i == steps:
            break
        quarter = dip + 0.25 * step * scale * start
        middle = field(t + 0.5 * step * np.cos(quarter), z + 0.5 * step * np.sin(quarter))
        mean = dip + step / 6.0 * scale * (start + 2.0 * middle)
        t = t + step * np.cos(mean)
        z = z + step * np.sin(mean)
        end = field(t, z)
        dip = dip + step / 6.0 * scale * (start + 4.0 * middle + end)
        start = end

    t_grid, z_grid, dip_grid = (np.ascontiguousarray(values.T) for values in grid)
    return Trajectory(t_grid, z_grid, dip_grid, passage.line, Plan(calorimeter, loss, spectrometer))


def propagate_muons(muons: Muons, passage: Passage, settings: Settings) -> Trajectory:
    """Trajectories of generated muons.

    Args:
        muons: Muons at the vertex.
        passage: Line, energy loss and kicks of each.
        settings: Step and field.

    Returns:
        One trajectory per muon.
    """
    return propagate(
        muons.charge / (muons.pt * np.cosh(muons.eta)),
        np.arctan(np.sinh(muons.eta)),
        muons.z0,
        passage,
        settings.step,
        settings.ripple,
    )


def _planes_reached(t: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Material planes up to which each track has come, [8, T]."""
    return np.concatenate([t >= PLANES_T[:, None], np.abs(z) >= PLANES_Z[:, None]])
