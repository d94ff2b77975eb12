"""From signals to the hit features on disk: drift circles and space points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitpool.muon import HITS, MDT, MM, RPC, STGC, TGC, TRACKS
from hitpool.simulation.geometry import TGC_STRIP_ANGLE, TUBE_RADIUS, Layers
from hitpool.simulation.signals import Signals

HIT_FEATURES, TRACK_FEATURES = tuple(HITS), tuple(TRACKS)

MM_PER_M = 1e3
LONGEST_DRIFT = 705.0
SECOND_EFFICIENCY = 0.90
# Spread of the hit time and half-width of the read-out window (ns), by technology code.
TIME_SPREAD = {RPC: 1.5, TGC: 4.0, STGC: 10.0, MM: 10.0}
TIME_WINDOW = 25.0
# Precision of the measured coordinate (m) where it is not that of the pitch.
PRECISION = {STGC: 0.00015, MM: 0.00012}
# Pitch along the strip (m); TGC strips have a pitch in angle.
SECOND_PITCH = {RPC: 0.030, STGC: 0.010 * np.sqrt(12.0)}


def drift_resolution(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resolution of a drift radius, 0.065 + 0.18 exp(-R / 2.5 mm) mm.

    Args:
        radius: Drift radius R (mm).

    Returns:
        Resolution (mm), same shape.

    Example:
        >>> drift_resolution(np.array([0.0, 14.6])).round(4)
        array([0.245 , 0.0655])
    """
    return 0.065 + 0.18 * np.exp(-radius / 2.5)


def drift_time(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drift time, 705 ns (0.55 u + 0.45 u^2) with u = R / 14.6 mm.

    Args:
        radius: Drift radius R (mm).

    Returns:
        Time (ns), same shape.

    Example:
        >>> drift_time(np.array([0.0, 7.3, 14.6])).round(1)
        array([  0. , 273.2, 705. ])
    """
    u = radius / (TUBE_RADIUS * MM_PER_M)
    return LONGEST_DRIFT * (0.55 * u + 0.45 * u * u)


def strip_precision(layers: Layers) -> NDArray[np.float64]:
    """Precision of the coordinate that strips and wire groups measure; means nothing in drift tubes.

    Args:
        layers: Geometry table of L layers.

    Returns:
        Standard deviation (m), [L].
    """
    own = _by_technology(PRECISION)[layers.technology]
    return np.where(own > 0.0, own, layers.pitch / np.sqrt(12.0))


def second_pitch(technology: NDArray[np.int64], coordinate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitch along the strip.

    Args:
        technology: Technology codes, any shape.
        coordinate: Measured coordinate (m), same shape or broadcastable.

    Returns:
        Pitch (m), 0 in sensors without second coordinate, same shape.
    """
    return np.where(technology == TGC, TGC_STRIP_ANGLE * coordinate, _by_technology(SECOND_PITCH)[technology])


def read_out(rng: np.random.Generator, signals: Signals, layers: Layers) -> NDArray[np.float64]:
    """Measure signals.

    Drift tubes give the smeared drift radius, its variance and the time that belongs to it, also for
    background. RPC and TGC give the centre of the strip or wire group, the inner endcap wheel the coordinate
    smeared by 0.15 mm (sTGC) or 0.12 mm (MM). In 90 % of the hits RPC, TGC and sTGC also measure along the
    strip; their edges are then half a pitch away, otherwise at the ends of the strip. Signals out of time
    have a time uniform in the window of 25 ns around 0.

    Args:
        rng: Source of random numbers.
        signals: S signals.
        layers: Geometry table.

    Returns:
        Hit features in the units on disk (mm, mm^2, ns), [S, 20], columns as in `HIT_FEATURES`; truthLink is
        the link of the signal.
    """
    row, size = signals.row, signals.row.size
    technology = layers.technology[row]
    drift = technology == MDT

    radius = signals.radius * MM_PER_M
    radius = np.clip(radius + rng.normal(size=size) * drift_resolution(radius), 0.0, TUBE_RADIUS * MM_PER_M)
    radius[~drift] = 0.0

    coordinate = signals.coordinate + rng.normal(size=size) * _by_technology(PRECISION)[technology]
    channel = np.clip(layers.channel(row, coordinate), 0, layers.channels[row] - 1)
    quantised = drift | (technology == RPC) | (technology == TGC)
    coordinate = np.where(quantised, layers.channel_centre(row, channel), coordinate)
    half_length = layers.half_length(row, coordinate)
    middle, half, second_variance = _along(rng, signals, technology, coordinate, half_length)

    phi = layers.sector_phi(row, signals.sector)
    barrel = layers.barrel[row]
    distance = np.where(barrel, layers.position[row], coordinate)
    z = signals.side * np.where(barrel, coordinate, layers.position[row])
    cosine, sine = np.cos(phi), np.sin(phi)

    time = rng.normal(size=size) * _by_technology(TIME_SPREAD)[technology]
    early_late = rng.uniform(-TIME_WINDOW, TIME_WINDOW, size)
    time = np.where(signals.in_time, time, early_late)
    time[drift] = drift_time(radius[drift]) + rng.normal(0.0, 3.0, int(drift.sum()))

    precision = np.where(drift, drift_resolution(radius), strip_precision(layers)[row] * MM_PER_M)
    chamber, channel = layers.chamber(row, channel)
    columns: dict[str, ArrayLike] = {
        "time": time,
        "driftR": radius,
        "readOutSide": np.where(signals.sector % 2 == 0, 1, -1),
        "covXX": second_variance * MM_PER_M**2,
        "covXY": 0.0,
        "covYX": 0.0,
        "covYY": precision**2,
        "channel": channel + 1,
        "layer": layers.layer[row],
        "stationPhi": signals.sector + 1,
        "stationEta": signals.side * (layers.first_chamber[row] + chamber),
        "stationIndex": layers.code[row],
        "technology": technology,
        "truthLink": signals.link,
    }
    for edge, v in (("High", middle + half), ("Low", middle - half)):
        columns[f"globEdge{edge}X"] = (distance * cosine - v * sine) * MM_PER_M
        columns[f"globEdge{edge}Y"] = (distance * sine + v * cosine) * MM_PER_M
        columns[f"globEdge{edge}Z"] = z * MM_PER_M
    hits = np.empty((size, len(HIT_FEATURES)))
    for i, name in enumerate(HIT_FEATURES):
        hits[:, i] = columns[name.removeprefix("spacePoint_")]
    return hits


def _along(
    rng: np.random.Generator,
    signals: Signals,
    technology: NDArray[np.int64],
    coordinate: NDArray[np.float64],
    half_length: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Middle, half-distance of the edges and variance (m, m, m^2) along the wire or strip."""
    tgc = technology == TGC
    pitch = second_pitch(technology, coordinate)
    measured = (pitch > 0.0) & (rng.random(pitch.size) < SECOND_EFFICIENCY)
    width = np.where(tgc, TGC_STRIP_ANGLE, np.where(pitch > 0.0, pitch, 1.0))
    place = np.where(tgc, np.arctan2(signals.tangential, signals.coordinate), signals.tangential)
    centre = (np.floor(place / width) + 0.5) * width
    centre = np.where(tgc, coordinate * np.tan(np.where(tgc, centre, 0.0)), centre)
    return (
        np.where(measured, centre, 0.0),
        np.where(measured, 0.5 * pitch, half_length),
        np.where(measured, pitch**2 / 12.0, half_length**2),
    )


def _by_technology(values: dict[int, float]) -> NDArray[np.float64]:
    """Table over the technology codes 0..5, 0 where nothing is given."""
    table = np.zeros(6)
    for code, value in values.items():
        table[code] = value
    return table
