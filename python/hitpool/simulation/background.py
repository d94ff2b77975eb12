"""Background: uncorrelated hits, hits next to tracks, and short straight segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitpool.muon import MDT, MM, RPC, STGC, TGC
from hitpool.simulation.crossings import layer_crossings
from hitpool.simulation.geometry import STATIONS, TGC_GROUPS, TUBE_RADIUS, Layers
from hitpool.simulation.material import Line
from hitpool.simulation.propagation import Trajectory
from hitpool.simulation.settings import Settings
from hitpool.simulation.signals import NO_LINK, Signals, crossing_signals
from hitpool.simulation.truth import sample_eta

SHAPE = 1.5  # of the negative binomial: variance = mean + mean^2 / shape
UNCORRELATED, NEAR_TRACK, SEGMENTS = 0.45, 0.25, 0.30
SHARES = {MDT: 0.50, RPC: 0.22, TGC: 0.17, STGC: 0.06, MM: 0.05}
RAW_SHARES = {MDT: 0.584, RPC: 0.046, TGC: 0.025, STGC: 0.162, MM: 0.183}
SEGMENT_EFFICIENCY = 0.80
SEGMENT_SPREAD = 0.15
HITS_PER_SEGMENT = 7.7
STEEPEST_DIP = 1.52
TGC_CODES = (17, 18)  # stations whose segments also cross the TGC


def background_signals(
    rng: np.random.Generator, true: Signals, events: int, layers: Layers, settings: Settings
) -> Signals:
    """Background of all events.

    The number of hits of an event is negative binomial; 45 % of them are uncorrelated, 25 % lie next to true
    hits, 30 % are on segments. Raw events have uncorrelated hits only.

    Args:
        rng: Source of random numbers.
        true: Signals of the muons.
        events: Number of events.
        layers: Geometry table.
        settings: Amount of background.

    Returns:
        Signals without link.
    """
    if settings.raw:
        return uncorrelated_signals(rng, rng.poisson(settings.background_mean, events), layers, RAW_SHARES)
    rate = settings.background_mean * rng.gamma(SHAPE, 1.0 / SHAPE, events)
    return Signals.concatenate(
        [
            uncorrelated_signals(rng, rng.poisson(UNCORRELATED * rate), layers, SHARES),
            neighbour_signals(rng, rng.poisson(NEAR_TRACK * rate), true, layers),
            segment_signals(rng, rng.poisson(SEGMENTS / HITS_PER_SEGMENT * rate), layers, settings.eta_max),
        ]
    )


def uncorrelated_signals(
    rng: np.random.Generator, counts: NDArray[np.int64], layers: Layers, shares: dict[int, float]
) -> Signals:
    """Hits anywhere in the detector.

    Layer, sector and side are uniform, the coordinate is uniform along the barrel and ~ 1/rho in the endcap,
    the drift radius uniform.

    Args:
        rng: Source of random numbers.
        counts: Number of hits of each event, [E].
        layers: Geometry table.
        shares: Share of each technology.

    Returns:
        Signals without link.
    """
    size = int(counts.sum())
    weight = np.where(layers.technology == TGC, np.log(layers.high / layers.low), 1.0)
    probability = np.zeros(len(layers))
    for technology, share in shares.items():
        rows = layers.technology == technology
        probability[rows] = share * weight[rows] / weight[rows].sum()
    row = rng.choice(len(layers), size=size, p=probability / probability.sum())
    low, high = layers.low[row], layers.high[row]
    u = rng.random(size)
    coordinate = np.where(layers.barrel[row], low + u * (high - low), low * (high / low) ** u)
    channel = np.clip(layers.channel(row, coordinate), 0, layers.channels[row] - 1)
    drift = layers.technology[row] == MDT
    coordinate = np.where(drift, layers.channel_centre(row, channel), coordinate)
    return Signals(
        event=np.repeat(np.arange(counts.size), counts),
        link=np.full(size, NO_LINK),
        row=row,
        sector=np.floor(rng.random(size) * layers.sectors[row]).astype(np.int64),
        side=np.where(rng.random(size) < 0.5, -1, 1),
        coordinate=coordinate,
        tangential=rng.uniform(-1.0, 1.0, size) * layers.half_length(row, coordinate),
        radius=np.where(drift, rng.uniform(0.0, TUBE_RADIUS, size), 0.0),
        in_time=np.zeros(size, dtype=bool),
    )


def neighbour_signals(rng: np.random.Generator, counts: NDArray[np.int64], true: Signals, layers: Layers) -> Signals:
    """Hits of secondaries, one to three wires or strips away from a true hit; the drift radius is uniform.

    Args:
        rng: Source of random numbers.
        counts: Number of hits of each event, [E].
        true: Signals of the muons.
        layers: Geometry table.

    Returns:
        Signals without link; fewer than asked for where the neighbour would be outside its layer.
    """
    order = np.argsort(true.event, kind="stable")
    available = np.bincount(true.event, minlength=counts.size)
    first = np.cumsum(available) - available
    event = np.repeat(np.arange(counts.size), np.where(available > 0, counts, 0))
    parent = true.take(order[first[event] + np.floor(rng.random(event.size) * available[event]).astype(np.int64)])
    distance = rng.integers(1, 4, event.size) * np.where(rng.random(event.size) < 0.5, -1, 1)
    coordinate = parent.coordinate + distance * layers.pitch[parent.row]
    channel = layers.channel(parent.row, coordinate)
    drift = layers.technology[parent.row] == MDT
    signals = Signals(
        event=event,
        link=np.full(event.size, NO_LINK),
        row=parent.row,
        sector=parent.sector,
        side=parent.side,
        coordinate=coordinate,
        tangential=parent.tangential,
        radius=np.where(drift, rng.uniform(0.0, TUBE_RADIUS, event.size), 0.0),
        in_time=np.ones(event.size, dtype=bool),
    )
    return signals.take((channel >= 0) & (channel < layers.channels[parent.row]))


def segment_signals(
    rng: np.random.Generator, counts: NDArray[np.int64], layers: Layers, eta_max: float = 2.7
) -> Signals:
    """Straight segments through one station of drift tubes and its trigger chambers.

    They start like tracks, with the same distribution of eta; in the station the direction is turned by N(0,
    0.15) in the bending plane.

    Args:
        rng: Source of random numbers.
        counts: Number of segments of each event, [E].
        layers: Geometry table.
        eta_max: Largest absolute pseudorapidity.

    Returns:
        Signals without link; none for a segment that points between the chambers.
    """
    size = int(counts.sum())
    eta = sample_eta(rng, size, eta_max)
    phi = rng.uniform(-np.pi, np.pi, size)
    slope = np.sinh(eta)
    depth, low, high, barrel = (
        np.array([getattr(s, name) for s in STATIONS]) for name in ("depth", "low", "high", "barrel")
    )
    first_phi, half_width = np.array([s.sector for s in STATIONS]).T
    coordinate = np.abs(np.where(barrel, depth * slope[:, None], depth / slope[:, None]))  # [size, 13]
    off_centre = np.mod(phi[:, None] - first_phi + np.pi / 8, np.pi / 4) - np.pi / 8
    crossed = (coordinate > low) & (coordinate < high) & (np.abs(off_centre) < half_width)
    station = np.argmax(np.where(crossed, rng.random(crossed.shape), -1.0), axis=1)

    t = np.where(barrel[station], depth[station], depth[station] / np.abs(slope))
    dip = np.clip(np.arctan(slope) + rng.normal(0.0, SEGMENT_SPREAD, size), -STEEPEST_DIP, STEEPEST_DIP)
    path = np.array([-4.0, 4.0])
    trajectory = Trajectory(
        t[:, None] + path * np.cos(dip)[:, None],
        (t * slope)[:, None] + path * np.sin(dip)[:, None],
        np.repeat(dip[:, None], 2, axis=1),
        Line(np.zeros(size), np.zeros(size), phi),
    )
    crossings = layer_crossings(trajectory, layers)
    with_tgc = np.array([s.code in TGC_CODES for s in STATIONS])[station]
    belongs = (layers.group == station[:, None]) | (with_tgc[:, None] & np.isin(layers.group, TGC_GROUPS))
    crossings.inside[:] &= belongs & crossed.any(axis=1, keepdims=True)
    event = np.repeat(np.arange(counts.size), counts)
    return crossing_signals(rng, crossings, layers, event, np.full(size, NO_LINK), np.full(6, SEGMENT_EFFICIENCY))
