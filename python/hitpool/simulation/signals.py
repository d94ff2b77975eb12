"""Signals in the sensors: which tube or strip was hit, where, by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hitpool.muon import MDT
from hitpool.simulation.crossings import Crossings
from hitpool.simulation.geometry import TUBE_RADIUS, Layers

DELTA_ELECTRONS = 0.04
SECOND_TUBE = 0.2  # calibrated to the hits per track and the share of drift tubes of the full simulation
NO_LINK = -1


@dataclass(frozen=True)
class Signals:
    """Signals before they are measured, every array [S].

    Args:
        event: Index of the event.
        link: Index of the muon in the batch, -1 for background.
        row: Index of the layer in the geometry table.
        sector: Index of the sector.
        side: +1 or -1, the sign of z.
        coordinate: Of the wire (MDT) or of the crossing (others), |z| in the barrel, distance from the beam
            in the endcap (m).
        tangential: Coordinate along the wire or strip (m).
        radius: Distance of the track from the wire (m), 0 in strips.
        in_time: Whether the signal comes from a particle of the triggered collision.
    """

    event: NDArray[np.int64]
    link: NDArray[np.int64]
    row: NDArray[np.int64]
    sector: NDArray[np.int64]
    side: NDArray[np.int64]
    coordinate: NDArray[np.float64]
    tangential: NDArray[np.float64]
    radius: NDArray[np.float64]
    in_time: NDArray[np.bool_]

    def take(self, which: NDArray[np.int64 | np.bool_]) -> Signals:
        """Some of the signals.

        Args:
            which: Indices or mask.

        Returns:
            These signals.
        """
        return Signals(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @staticmethod
    def concatenate(parts: Sequence[Signals]) -> Signals:
        """Signals of several sources.

        Args:
            parts: The sources, at least one.

        Returns:
            All signals, in this order.
        """
        return Signals(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Signals)})


def crossing_signals(
    rng: np.random.Generator,
    crossings: Crossings,
    layers: Layers,
    event: NDArray[np.int64],
    link: NDArray[np.int64],
    efficiency: NDArray[np.float64],
) -> Signals:
    """Signals that tracks leave in the layers they cross.

    A drift tube can fire if the track comes closer to its wire than 14.6 mm, R = |c - c_wire| cos(alpha).
    Candidates in a layer are the nearest tube and the next one on the side of the track; if both fire, the
    next one is kept as a second hit with probability `SECOND_TUBE`. In 4 % of the tubes a delta electron
    shortens R to R * U(0, 1).

    Args:
        rng: Source of random numbers.
        crossings: Crossings of T tracks with L layers.
        layers: Table of the L layers.
        event: Event of each track, [T].
        link: Link that the signals carry, [T].
        efficiency: Probability of a signal, by technology code, [6].

    Returns:
        Signals, all in time.
    """
    track, row = np.nonzero(crossings.inside)
    coordinate = crossings.coordinate[track, row]
    drift = layers.technology[row] == MDT

    def fires(channel: NDArray[np.int64], radius: NDArray[np.float64]) -> NDArray[np.bool_]:
        exists = (channel >= 0) & (channel < layers.channels[row]) & (radius < TUBE_RADIUS)
        return exists & (rng.random(row.size) < efficiency[layers.technology[row]])

    def distance(channel: NDArray[np.int64]) -> NDArray[np.float64]:
        away = np.abs(coordinate - layers.channel_centre(row, channel)) * crossings.cos_alpha[track, row]
        return np.where(drift, away, 0.0)

    def signals(channel: NDArray[np.int64], fired: NDArray[np.bool_]) -> Signals:
        at = (track, row)
        return Signals(
            event=event[track],
            link=link[track],
            row=row,
            sector=crossings.sector[at],
            side=crossings.side[at],
            coordinate=np.where(drift, layers.channel_centre(row, channel), coordinate),
            tangential=crossings.tangential[at],
            radius=distance(channel),
            in_time=np.ones(row.size, dtype=bool),
        ).take(fired)

    nearest = layers.channel(row, coordinate)
    following = nearest + np.where(coordinate > layers.channel_centre(row, nearest), 1, -1)
    first = fires(nearest, distance(nearest))
    second = drift & fires(following, distance(following)) & (~first | (rng.random(row.size) < SECOND_TUBE))
    result = Signals.concatenate([signals(nearest, first), signals(following, second)])
    delta = rng.random(result.row.size) < DELTA_ELECTRONS
    result.radius[delta] *= rng.random(int(delta.sum()))
    return result
