"""The detector as a table: one row per sensor layer and kind of sector."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray

MDT, RPC, TGC, STGC, MM = 0, 2, 3, 4, 5
TUBE_PITCH, TUBE_RADIUS, TUBE_LAYER_DISTANCE = 0.030035, 0.0146, 0.026011
LARGE, SMALL = (0.0, 0.245), (np.pi / 8, 0.175)  # azimuth of the first sector, half-width (rad)
TGC_SECTORS, TGC_STRIP_ANGLE = 48, 0.004

# name: (code, kind of sector, distance d, layers per multilayer, spacer, |z| from, |z| to, chambers, group)
BARREL = {
    "BIL": (0, LARGE, 4.95, 4, 0.170, 0.15, 7.30, 6, 0),
    "BIS": (1, SMALL, 4.55, 4, 0.030, 0.15, 7.40, 6, 1),
    "BML": (2, LARGE, 7.14, 3, 0.317, 0.20, 9.60, 6, 2),
    "BMS": (3, SMALL, 8.09, 3, 0.170, 0.20, 9.60, 6, 3),
    "BOL": (4, LARGE, 9.50, 3, 0.317, 0.25, 12.9, 6, 4),
    "BOS": (5, SMALL, 10.57, 3, 0.317, 0.25, 12.9, 6, 5),
}
RPC_OFFSETS = {
    "BIL": (0.25, 0.27, 0.29),
    "BIS": (0.25, 0.27, 0.29),
    "BML": (-0.35, -0.33, 0.35, 0.37),
    "BMS": (-0.35, -0.33, 0.35, 0.37),
    "BOL": (0.35, 0.37),
    "BOS": (0.35, 0.37),
}
# name: (code, kind of sector, |z|, layers per multilayer, spacer, rho from, rho to, rings, first ring, group)
ENDCAP = {
    "EIL": (13, LARGE, 7.45, 4, 0.121, 4.7, 6.3, 1, 4, 6),
    "EEL": (14, LARGE, 11.3, 4, 0.121, 5.6, 9.0, 2, 1, 7),
    "EES": (15, SMALL, 10.3, 4, 0.121, 5.6, 8.2, 2, 1, 8),
    "EML": (17, LARGE, 14.05, 3, 0.170, 1.75, 11.6, 5, 1, 9),
    "EMS": (18, SMALL, 13.70, 3, 0.170, 1.75, 11.6, 5, 1, 10),
    "EOL": (20, LARGE, 21.45, 3, 0.170, 2.8, 12.0, 6, 1, 11),
    "EOS": (21, SMALL, 21.85, 3, 0.170, 2.8, 12.0, 6, 1, 12),
}
# codes of the forward and of the endcap part, |z| of the gaps, group
TGC_STATIONS = (
    (41, 42, (13.25, 13.28, 13.31), 13),
    (43, 44, (14.75, 14.78), 14),
    (45, 46, (15.20, 15.23), 15),
)
TGC_RHO = (1.75, 4.0, 11.9)
NSW = ((58, 56, LARGE, 7.45, 16), (57, 55, SMALL, 7.15, 17))  # sTGC code, MM code, kind of sector, |z|, group
NSW_RHO, NSW_RINGS = (1.0, 4.7), 2
GROUPS = 18


@dataclass(frozen=True)
class Layers:
    """Sensor layers, L rows; a row stands for all its sectors and both sides.

    Args:
        code: Station-name code.
        technology: MDT 0, RPC 2, TGC 3, sTGC 4, MM 5.
        barrel: True: plane parallel to the beam at distance `position`; False: plane |z| = `position`.
        position: Distance or |z| (m).
        low, high: Range of the measured coordinate, |z| in the barrel, distance from the beam in the endcap (m).
        sectors: Number of sectors.
        first_phi: Azimuth of the centre of sector 0 (rad).
        half_tan: Tangent of the half-width of a sector.
        reach: Distance from the beam at which the half-length of a barrel sensor is taken (m); unused in the endcap.
        pitch: Distance of wires, strips or wire groups (m).
        shift: Offset of the first wire or strip (m).
        channels: Number of wires or strips from `low` to `high`.
        chambers: Number of chambers from `low` to `high`.
        first_chamber: |stationEta| of the first chamber.
        layer: Number of the layer in its chamber, from 1.
        group: Station the layer belongs to, for losses and segments; 0..12 hold drift tubes.
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
        """Number of the wire or strip in its layer, from 0; it is outside 0 .. channels - 1 outside the layer.

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
        return chamber, channel - first


def _drift_layers(per_multilayer: int, spacer: float) -> list[tuple[float, float, int]]:
    """Offset from the station, shift of the wires, number of each drift-tube layer of a station."""
    inner = spacer / 2 + TUBE_LAYER_DISTANCE * (per_multilayer - 1) / 2
    return [
        (
            sign * inner + (i - (per_multilayer - 1) / 2) * TUBE_LAYER_DISTANCE,
            0.5 * TUBE_PITCH * (i % 2),
            multilayer * per_multilayer + i + 1,
        )
        for multilayer, sign in enumerate((-1, 1))
        for i in range(per_multilayer)
    ]


@cache
def muon_layers() -> Layers:
    """The muon spectrometer: drift tubes (MDT), trigger chambers (RPC, TGC) and the inner endcap wheel (sTGC, MM).

    Returns:
        Table of all layers.

    Example:
        >>> layers = muon_layers()
        >>> {code: int((layers.code == code).sum()) for code in (0, 2, 42)}  # BIL, BML with RPCs, T1E
        {0: 11, 2: 10, 42: 3}
    """
    rows: list[tuple] = []

    def add(code, technology, barrel, position, low, high, sectors, first_phi, half_tan, reach, pitch, shift,
            chambers, first_chamber, layer, group) -> None:  # fmt: skip
        channels = int(np.floor((high - low - shift) / pitch + 1e-9))
        rows.append((code, technology, barrel, position, low, high, sectors, first_phi, half_tan, reach, pitch, shift,
                     channels, chambers, first_chamber, layer, group))  # fmt: skip

    for name, (code, (phi, width), d, n, spacer, low, high, chambers, group) in BARREL.items():
        half_tan = np.tan(width)
        for offset, shift, layer in _drift_layers(n, spacer):
            add(code, MDT, True, d + offset, low, high, 8, phi, half_tan, d, TUBE_PITCH, shift,
                chambers, 1, layer, group)  # fmt: skip
        for i, offset in enumerate(RPC_OFFSETS[name]):
            add(code, RPC, True, d + offset, low, high, 8, phi, half_tan, d, 0.030, 0.0, chambers, 1, i + 1, group)
    for code, (phi, width), z, n, spacer, low, high, rings, first, group in ENDCAP.values():
        for offset, shift, layer in _drift_layers(n, spacer):
            add(code, MDT, False, z + offset, low, high, 8, phi, np.tan(width), 0.0, TUBE_PITCH, shift,
                rings, first, layer, group)  # fmt: skip
    for forward, endcap, gaps, group in TGC_STATIONS:
        for i, z in enumerate(gaps):
            for code, low, high, chambers in ((forward, *TGC_RHO[:2], 1), (endcap, *TGC_RHO[1:], 5)):
                half = np.pi / TGC_SECTORS
                add(code, TGC, False, z, low, high, TGC_SECTORS, half, np.tan(half), 0.0, 0.020, 0.0,
                    chambers, 1, i + 1, group)  # fmt: skip
    for stgc, micromegas, (phi, width), z, group in NSW:
        for i in range(8):
            wires = i < 2 or i > 5
            code, technology, pitch = (stgc, STGC, 0.0032) if wires else (micromegas, MM, 0.00045)
            layer = (i + 1 if i < 2 else i - 3) if wires else i - 1
            add(code, technology, False, z + (i - 3.5) * 0.012, *NSW_RHO, 8, phi, np.tan(width), 0.0, pitch, 0.0,
                NSW_RINGS, 1, layer, group)  # fmt: skip

    columns = [np.array(column) for column in zip(*rows, strict=True)]
    for column in columns:
        column.setflags(write=False)
    return Layers(*columns)
