"""Where tracks cross the sensor layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitpool.simulation.geometry import TUBE_PITCH, Layers
from hitpool.simulation.material import Line
from hitpool.simulation.propagation import Trajectory

ROW_OFFSET = 1e3  # larger than any coordinate (m): makes all rows of a grid one increasing array
MIN_ENDCAP_DIP = 0.5
GridIndex = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Crossings:
    """Crossings of T tracks with L layers, every array [T, L].

    Args:
        inside: Whether the track crosses a sensor of this layer; the other entries mean something only there.
        sector: Index of the sector.
        side: +1 or -1, the sign of z.
        coordinate: Measured coordinate of the crossing, |z| in the barrel, distance from the beam in the
            endcap (m).
        tangential: Coordinate along the wire or strip (m).
        cos_alpha: Cosine of the angle between the track and the normal of the layer, in the bending plane.
    """

    inside: NDArray[np.bool_]
    sector: NDArray[np.int64]
    side: NDArray[np.int64]
    coordinate: NDArray[np.float64]
    tangential: NDArray[np.float64]
    cos_alpha: NDArray[np.float64]


def layer_crossings(trajectory: Trajectory, layers: Layers) -> Crossings:
    """All crossings of all tracks with all layers.

    Between two grid points the track is a cubic with the slopes of the grid points. Each layer is looked at
    in the sector that is closest to the track.

    Args:
        trajectory: T tracks.
        layers: Table of L layers.

    Returns:
        Crossings.
    """
    result = Crossings(
        *(np.zeros((trajectory.t.shape[0], len(layers)), dtype) for dtype in (bool, np.int64, np.int64)),
        *(np.zeros((trajectory.t.shape[0], len(layers))) for _ in range(3)),
    )
    for rows, crossings in (
        (np.flatnonzero(layers.barrel), _barrel_crossings),
        (np.flatnonzero(~layers.barrel), _endcap_crossings),
    ):
        for name, values in vars(crossings(trajectory, layers.take(rows))).items():
            getattr(result, name)[:, rows] = values
    return result


def _barrel_crossings(trajectory: Trajectory, layers: Layers) -> Crossings:
    position = np.broadcast_to(layers.position, (trajectory.t.shape[0], len(layers)))
    sector, delta, along, across = _closest_sector(trajectory.line, layers, position)
    t = (position - along) / np.cos(delta)  # [T, L]
    found, before, after, t0, t1 = _interval(trajectory.t, t)
    dip0, dip1 = trajectory.dip[before], trajectory.dip[after]
    z = _hermite(t, t0, t1, trajectory.z[before], trajectory.z[after], np.tan(dip0), np.tan(dip1))
    slope = np.tan(_between(t, t0, t1, dip0, dip1)) / np.cos(delta)
    return _crossings(layers, found, sector, z, np.abs(z), across + t * np.sin(delta), slope)


def _endcap_crossings(trajectory: Trajectory, layers: Layers) -> Crossings:
    position = np.broadcast_to(layers.position, (trajectory.t.shape[0], len(layers)))
    found, before, after, z0, z1 = _interval(np.abs(trajectory.z), position)
    dip0, dip1 = np.abs(trajectory.dip[before]), np.abs(trajectory.dip[after])
    dip = _between(position, z0, z1, dip0, dip1)
    found &= dip > MIN_ENDCAP_DIP
    dip, dip0, dip1 = (np.where(found, angle, 1.0) for angle in (dip, dip0, dip1))
    t = _hermite(position, z0, z1, trajectory.t[before], trajectory.t[after], 1.0 / np.tan(dip0), 1.0 / np.tan(dip1))
    sector, delta, along, across = _closest_sector(trajectory.line, layers, t)
    slope = np.cos(delta) / np.tan(dip)
    coordinate = along + t * np.cos(delta)
    return _crossings(layers, found, sector, trajectory.z[after], coordinate, across + t * np.sin(delta), slope)


def _crossings(
    layers: Layers,
    found: NDArray[np.bool_],
    sector: NDArray[np.int64],
    z: NDArray[np.float64],
    coordinate: NDArray[np.float64],
    tangential: NDArray[np.float64],
    slope: NDArray[np.float64],
) -> Crossings:
    """Crossings inside the sensors; drift tubes reach half a pitch beyond the range of their wires."""
    half_length = np.where(layers.barrel, layers.reach, coordinate) * layers.half_tan
    inside = (
        found
        & (coordinate > layers.low - TUBE_PITCH)
        & (coordinate < layers.high + TUBE_PITCH)
        & (np.abs(tangential) < half_length)
    )
    side = np.where(z < 0.0, -1, 1)
    return Crossings(inside, sector, side, coordinate, tangential, 1.0 / np.sqrt(1.0 + slope * slope))


def _closest_sector(
    line: Line, layers: Layers, t: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sector closest to the point at t; direction and foot point of the line in the frame of its centre."""
    phi = np.arctan2(
        line.foot_y[:, None] + t * np.sin(line.phi)[:, None],
        line.foot_x[:, None] + t * np.cos(line.phi)[:, None],
    )
    width = 2.0 * np.pi / layers.sectors
    sector = np.mod(np.rint((phi - layers.first_phi) / width).astype(np.int64), layers.sectors)
    phi = layers.first_phi + sector * width
    cosine, sine = np.cos(phi), np.sin(phi)
    along = line.foot_x[:, None] * cosine + line.foot_y[:, None] * sine
    across = line.foot_y[:, None] * cosine - line.foot_x[:, None] * sine
    return sector, line.phi[:, None] - phi, along, across


def _interval(
    grid: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], GridIndex, GridIndex, NDArray[np.float64], NDArray[np.float64]]:
    """First grid interval in which each row of `grid` reaches its targets.

    Returns whether there is one, the indices of its two ends, and the grid values there (0 and 1 where there
    is none).
    """
    tracks, points = grid.shape
    row = np.arange(tracks)[:, None]
    reached = np.maximum.accumulate(grid, axis=1) + row * ROW_OFFSET
    wanted = np.clip(target, -1.0, 0.4 * ROW_OFFSET) + row * ROW_OFFSET
    end = np.searchsorted(reached.ravel(), wanted.ravel()).reshape(target.shape) - row * points
    found = (end > 0) & (end < points)
    end = np.where(found, end, 1)
    before, after = (row, end - 1), (row, end)
    return found, before, after, np.where(found, grid[before], 0.0), np.where(found, grid[after], 1.0)


def _between(
    x: NDArray[np.float64],
    x0: NDArray[np.float64],
    x1: NDArray[np.float64],
    y0: NDArray[np.float64],
    y1: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Straight line through (x0, y0) and (x1, y1) at x."""
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _hermite(
    x: NDArray[np.float64],
    x0: NDArray[np.float64],
    x1: NDArray[np.float64],
    y0: NDArray[np.float64],
    y1: NDArray[np.float64],
    slope0: NDArray[np.float64],
    slope1: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Cubic through (x0, y0) and (x1, y1) with the given slopes, at x."""
    width = x1 - x0
    u = (x - x0) / width
    v = 1.0 - u
    return y0 * v * v * (1.0 + 2.0 * u) + y1 * u * u * (1.0 + 2.0 * v) + width * u * v * (slope0 * v - slope1 * u)
