"""The detector as a table: one row per sensor layer and kind of sector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hitpool.muon import MDT, MM, RPC, STGC, TGC

TUBE_PITCH, TUBE_RADIUS, TUBE_LAYER_DISTANCE = 0.030035, 0.0146, 0.026011
LARGE, SMALL = (0.0, 0.245), (np.pi / 8, 0.175)  # azimuth of the first sector, half-width (rad)
RPC_PITCH, TGC_PITCH, STGC_PITCH, MM_PITCH = 0.030, 0.020, 0.0032, 0.00045
TGC_SECTORS, TGC_STRIP_ANGLE = 48, 0.004


class Station(NamedTuple):
    """Stations of drift tubes, all sectors and both sides: distances in m."""

    code: int
    barrel: bool
    sector: tuple[float, float]  # LARGE or SMALL
    depth: float  # distance from the beam in the barrel, |z| in the endcap
    per_multilayer: int
    spacer: float
    low: float  # range of |z| in the barrel, of the distance from the beam in the endcap
    high: float
    chambers: int
    first_chamber: int
    rpc: tuple[float, ...] = ()  # distances of RPC gaps from the station


# The place in the list is the `group` of the layers.
STATIONS = (
    Station(0, True, LARGE, 4.95, 4, 0.170, 0.15, 7.30, 6, 1, (0.25, 0.27, 0.29)),  # BIL
    Station(1, True, SMALL, 4.55, 4, 0.030, 0.15, 7.40, 6, 1, (0.25, 0.27, 0.29)),  # BIS
    Station(2, True, LARGE, 7.14, 3, 0.317, 0.20, 9.60, 6, 1, (-0.35, -0.33, 0.35, 0.37)),  # BML
    Station(3, True, SMALL, 8.09, 3, 0.170, 0.20, 9.60, 6, 1, (-0.35, -0.33, 0.35, 0.37)),  # BMS
    Station(4, True, LARGE, 9.50, 3, 0.317, 0.25, 12.9, 6, 1, (0.35, 0.37)),  # BOL
    Station(5, True, SMALL, 10.57, 3, 0.317, 0.25, 12.9, 6, 1, (0.35, 0.37)),  # BOS
    Station(13, False, LARGE, 7.45, 4, 0.121, 4.7, 6.3, 1, 4),  # EIL4
    Station(14, False, LARGE, 11.3, 4, 0.121, 5.6, 9.0, 2, 1),  # EEL
    Station(15, False, SMALL, 10.3, 4, 0.121, 5.6, 8.2, 2, 1),  # EES
    Station(17, False, LARGE, 14.05, 3, 0.170, 1.75, 11.6, 5, 1),  # EML
    Station(18, False, SMALL, 13.70, 3, 0.170, 1.75, 11.6, 5, 1),  # EMS
    Station(20, False, LARGE, 21.45, 3, 0.170, 2.8, 12.0, 6, 1),  # EOL
    Station(21, False, SMALL, 21.85, 3, 0.170, 2.8, 12.0, 6, 1),  # EOS
)
# TGC: codes of the forward and of the endcap part, |z| of the gaps.
TGC_STATIONS = ((41, 42, (13.25, 13.28, 13.31)), (43, 44, (14.75, 14.78)), (45, 46, (15.20, 15.23)))
TGC_PARTS = ((1.75, 4.0, 1), (4.0, 11.9, 5))  # range of the distance from the beam, rings
WHEELS = ((58, 56, LARGE, 7.45), (57, 55, SMALL, 7.15))  # codes of sTGC and MM, kind of sector, |z|
WHEEL_RANGE, WHEEL_RINGS = (1.0, 4.7), 2
TGC_GROUPS = tuple(range(len(STATIONS), len(STATIONS) + len(TGC_STATIONS)))
GROUPS = len(STATIONS) + len(TGC_STATIONS) + len(WHEELS)


@dataclass(frozen=True)
class Layers:
    """Sensor layers, L rows; a row stands for all its sectors and both sides.

    Args:
        code: Station-name code.
        technology: MDT 0, RPC 2, TGC 3, sTGC 4, MM 5.
        barrel: True: plane parallel to the beam at distance `position`; False: plane |z| = `position`.
        position: Distance or |z| (m).
        low, high: Range of the measured coordinate, |z| in the barrel, distance from the beam in the endcap
            (m).
        sectors: Number of sectors.
        first_phi: Azimuth of the centre of sector 0 (rad).
        half_tan: Tangent of the half-width of a sector.
        reach: Distance from the beam at which the half-length of a barrel sensor is taken (m); unused in the
            endcap.
        pitch: Distance of wires, strips or wire groups (m).
        shift: Offset of the first wire or strip (m).
        channels: Number of wires or strips from `low` to `high`.
        chambers: Number of chambers from `low` to `high`.
        first_chamber: |stationEta| of the first chamber.
        layer: Number of the layer in its chamber, from 1.
        group: Station the layer belongs to; 0..12 are those of `STATIONS`.
    """

    code: NDArray[np.int64]
    technology: NDArray[np.int64]
    barrel: NDArray[np.bool_]
    position: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    sectors: NDArray[np.int64]
    first_phi: NDArray[np.float64]
    half_tan: NDArray[np.float64]
    reach: NDArray[np.float64]
    pitch: NDArray[np.float64]
    shift: NDArray[np.float64]
    channels: NDArray[np.int64]
    chambers: NDArray[np.int64]
    first_chamber: NDArray[np.int64]
    layer: NDArray[np.int64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return self.code.size

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Layers:
        """Some of the rows.

        Args:
            rows: Indices or mask of the rows.

        Returns:
            A table of these rows.
        """
        return Layers(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def sector_phi(self, rows: NDArray[np.int64], sector: NDArray[np.int64]) -> NDArray[np.float64]:
        """Azimuth of the centre of sectors.

        Args:
            rows: Index of the layer, any shape.
            sector: Index of the sector, same shape.

        Returns:
            Azimuth (rad), same shape.
        """
        return self.first_phi[rows] + sector * (2.0 * np.pi / self.sectors[rows])

    def half_length(self, rows: NDArray[np.int64], coordinate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half the length of the wire or strip at a coordinate.

        Args:
            rows: Index of the layer, any shape.
            coordinate: Measured coordinate (m), same shape.

        Returns:
            Half-length (m), same shape.
        """
        return np.where(self.barrel[rows], self.reach[rows], coordinate) * self.half_tan[rows]

    def channel(self, rows: NDArray[np.int64], coordinate: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number of the wire or strip in its layer, 0 .. channels - 1 inside the layer and beyond outside.

        Args:
            rows: Index of the layer, any shape.
            coordinate: Measured coordinate (m), same shape.

        Returns:
            Number of the channel, same shape.
        """
        return np.floor((coordinate - self.low[rows] - self.shift[rows]) / self.pitch[rows]).astype(np.int64)

    def channel_centre(self, rows: NDArray[np.int64], channel: NDArray[np.int64]) -> NDArray[np.float64]:
        """Measured coordinate of a wire or of the middle of a strip.

        Args:
            rows: Index of the layer, any shape.
            channel: Number of the channel, same shape.

        Returns:
            Coordinate (m), same shape.
        """
        return self.low[rows] + self.shift[rows] + (channel + 0.5) * self.pitch[rows]

    def chamber(
        self, rows: NDArray[np.int64], channel: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Chamber of a channel and its number inside this chamber.

        Args:
            rows: Index of the layer, any shape.
            channel: Number of the channel in the layer, same shape.

        Returns:
            Number of the chamber from 0 and number of the channel in it from 0, same shape.
        """
        width = (self.high[rows] - self.low[rows]) / self.chambers[rows]
        centre = self.channel_centre(rows, channel) - self.low[rows]
        chamber = np.minimum(np.floor(centre / width), self.chambers[rows] - 1).astype(np.int64)
        first = np.ceil((chamber * width - self.shift[rows]) / self.pitch[rows] - 0.5).astype(np.int64)
        return chamber, channel - np.maximum(first, 0)


@cache
def muon_layers() -> Layers:
    """The muon spectrometer: drift tubes (MDT), trigger chambers (RPC, TGC), inner endcap wheel (sTGC, MM).

    Returns:
        Table of all layers.

    Example:
        >>> layers = muon_layers()
        >>> {code: int((layers.code == code).sum()) for code in (0, 2, 42)}  # BIL, BML with RPCs, T1E
        {0: 11, 2: 10, 42: 3}
    """
    rows = [*_station_rows(), *_tgc_rows(), *_wheel_rows()]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    extent = columns["high"] - columns["low"] - columns["shift"]
    columns["channels"] = np.floor(extent / columns["pitch"] + 1e-9).astype(np.int64)
    for column in columns.values():
        column.setflags(write=False)
    return Layers(**columns)


def _drift_layers(station: Station) -> Iterator[tuple[float, float, int]]:
    """Depth, shift of the wires and number of each drift-tube layer; odd layers shifted by half a pitch."""
    n = station.per_multilayer
    centre = station.spacer / 2 + TUBE_LAYER_DISTANCE * (n - 1) / 2
    for multilayer, sign in enumerate((-1, 1)):
        for i in range(n):
            depth = station.depth + sign * centre + (i - (n - 1) / 2) * TUBE_LAYER_DISTANCE
            yield depth, 0.5 * TUBE_PITCH * (i % 2), multilayer * n + i + 1


def _station_rows() -> Iterator[dict[str, Any]]:
    for group, station in enumerate(STATIONS):
        first_phi, half_width = station.sector
        common = {
            "code": station.code,
            "barrel": station.barrel,
            "low": station.low,
            "high": station.high,
            "sectors": 8,
            "first_phi": first_phi,
            "half_tan": np.tan(half_width),
            "reach": station.depth if station.barrel else 0.0,
            "chambers": station.chambers,
            "first_chamber": station.first_chamber,
            "group": group,
        }
        for depth, shift, layer in _drift_layers(station):
            own = {"technology": MDT, "position": depth, "pitch": TUBE_PITCH, "shift": shift, "layer": layer}
            yield common | own
        for layer, offset in enumerate(station.rpc, start=1):
            position = station.depth + offset
            own = {"technology": RPC, "position": position, "pitch": RPC_PITCH, "shift": 0.0, "layer": layer}
            yield common | own


def _tgc_rows() -> Iterator[dict[str, Any]]:
    half_width = np.pi / TGC_SECTORS
    for group, (*codes, gaps) in zip(TGC_GROUPS, TGC_STATIONS, strict=True):
        for layer, position in enumerate(gaps, start=1):
            for code, (low, high, rings) in zip(codes, TGC_PARTS, strict=True):
                yield {
                    "code": code,
                    "technology": TGC,
                    "barrel": False,
                    "position": position,
                    "low": low,
                    "high": high,
                    "sectors": TGC_SECTORS,
                    "first_phi": half_width,
                    "half_tan": np.tan(half_width),
                    "reach": 0.0,
                    "pitch": TGC_PITCH,
                    "shift": 0.0,
                    "chambers": rings,
                    "first_chamber": 1,
                    "layer": layer,
                    "group": group,
                }


def _wheel_rows() -> Iterator[dict[str, Any]]:
    """Per sector two layers of sTGC, four of MM, two of sTGC; sTGC and MM count their own layers."""
    for group, (stgc, micromegas, (first_phi, half_width), depth) in enumerate(WHEELS, start=GROUPS - len(WHEELS)):
        for i, layer in enumerate((1, 2, 1, 2, 3, 4, 3, 4)):
            wires = i < 2 or i > 5
            yield {
                "code": stgc if wires else micromegas,
                "technology": STGC if wires else MM,
                "barrel": False,
                "position": depth + (i - 3.5) * 0.012,
                "low": WHEEL_RANGE[0],
                "high": WHEEL_RANGE[1],
                "sectors": 8,
                "first_phi": first_phi,
                "half_tan": np.tan(half_width),
                "reach": 0.0,
                "pitch": STGC_PITCH if wires else MM_PITCH,
                "shift": 0.0,
                "chambers": WHEEL_RINGS,
                "first_chamber": 1,
                "layer": layer,
                "group": group,
            }
