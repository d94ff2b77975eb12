"""Whole events: muons, hits, background, the cuts of a finished data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hitpool.files import Events
from hitpool.muon import MDT, MM, RPC, STGC, TGC
from hitpool.simulation.background import background_signals
from hitpool.simulation.crossings import Crossings, layer_crossings
from hitpool.simulation.geometry import GROUPS, Layers, muon_layers
from hitpool.simulation.material import sample_passage
from hitpool.simulation.propagation import propagate_muons
from hitpool.simulation.readout import HIT_FEATURES, MM_PER_M, read_out
from hitpool.simulation.settings import Settings
from hitpool.simulation.signals import NO_LINK, Signals, crossing_signals
from hitpool.simulation.truth import Muons, sample_muons

STATION_LOSS = 0.01
INNER_BARREL_CODES, INNER_RPC_LINK = (0, 1), 0.5
UNLINKED_SURVIVAL = 0.1  # of the hit filter, for hits of inner chambers that do not carry their truth link
LINK = HIT_FEATURES.index("spacePoint_truthLink")
# Order of the hits of an event, with the number of bits of each column; together a read-out channel.
ORDER = (
    ("technology", 3),
    ("stationIndex", 6),
    ("stationPhi", 6),
    ("stationEta", 6),
    ("layer", 4),
    ("channel", 13),
)


def generate_events(rng: np.random.Generator, events: int, settings: Settings) -> Events:
    """Events with at least one track.

    Args:
        rng: Source of random numbers.
        events: Number of events E.
        settings: What to generate.

    Returns:
        Exactly E events.
    """
    parts: list[Events] = []
    missing = events
    while missing > 0:
        spare = missing // 64 + 4  # about 3 of 1000 events have no track
        part = _attempt(rng, missing + spare, settings).first(missing)
        parts.append(part)
        missing -= part.num_hits.size
    return Events.concatenate(parts)


def sensor_efficiency(settings: Settings) -> NDArray[np.float64]:
    """Probability that a sensor which is crossed gives a signal.

    Args:
        settings: Efficiency of a drift tube.

    Returns:
        Efficiency by technology code, [6].
    """
    efficiency = np.zeros(6)
    efficiency[[MDT, RPC, TGC, STGC, MM]] = settings.mdt_efficiency, 0.94, 0.93, 0.90, 0.90
    return efficiency


def muon_signals(rng: np.random.Generator, muons: Muons, layers: Layers, settings: Settings) -> Signals:
    """Signals of muons, after inefficiencies and the hit filter.

    The hits of a track in the inner endcap wheel carry its link all or not at all, and so do those in the
    RPCs of the inner barrel station (probability 0.5); hits without link mostly fall to the filter.

    Args:
        rng: Source of random numbers.
        muons: Muons at the vertex.
        layers: Geometry table.
        settings: Efficiencies, alignment error, truth of the inner endcap wheel.

    Returns:
        Signals; link is the index of the muon.
    """
    trajectory = propagate_muons(muons, sample_passage(rng, muons), settings)
    crossings = layer_crossings(trajectory, layers)
    if settings.align > 0.0:
        crossings = _misaligned(rng, crossings, layers, muons.event, settings.align / MM_PER_M)
    working = rng.random((muons.event.size, GROUPS)) >= STATION_LOSS
    crossings.inside[:] &= working[:, layers.group]

    efficiency = sensor_efficiency(settings)
    signals = crossing_signals(rng, crossings, layers, muons.event, np.arange(muons.event.size), efficiency)

    hidden = np.zeros(signals.row.size, dtype=bool)
    for chambers, probability in partly_linked(layers, settings):
        linked = rng.random(muons.event.size) < probability
        hidden |= chambers[signals.row] & ~linked[signals.link]
    kept = np.where(hidden, UNLINKED_SURVIVAL, settings.filter_efficiency)
    signals = replace(signals, link=np.where(hidden, NO_LINK, signals.link))
    return signals if settings.raw else signals.take(rng.random(kept.size) < kept)


def partly_linked(layers: Layers, settings: Settings) -> tuple[tuple[NDArray[np.bool_], float], ...]:
    """Chambers in which the hits of a track carry its link all or not at all, and with which probability.

    Args:
        layers: Geometry table of L layers.
        settings: Truth of the inner endcap wheel.

    Returns:
        The layers of the inner endcap wheel and of the RPCs of the inner barrel station, masks [L] with probabilities.
    """
    wheel = layers.technology >= STGC
    triplet = (layers.technology == RPC) & np.isin(layers.code, INNER_BARREL_CODES)
    return (wheel, settings.nsw_link), (triplet, INNER_RPC_LINK)


def _misaligned(
    rng: np.random.Generator, crossings: Crossings, layers: Layers, event: NDArray[np.int64], spread: float
) -> Crossings:
    """Crossings seen by stations that are displaced, anew in each event."""
    shift = rng.normal(0.0, spread, (int(event.max(initial=-1)) + 1, GROUPS))
    return replace(crossings, coordinate=crossings.coordinate + shift[event][:, layers.group])


def _attempt(rng: np.random.Generator, events: int, settings: Settings) -> Events:
    """Generate events; those without a track drop out."""
    layers = muon_layers()
    muons = sample_muons(rng, events, settings)
    true = muon_signals(rng, muons, layers, settings)
    background = background_signals(rng, true.take(true.link != NO_LINK), events, layers, settings)
    signals = Signals.concatenate([true, background])
    hits = read_out(rng, signals, layers)
    order = _one_hit_per_channel(signals.event, hits)
    return _finish(rng, signals.event[order], hits[order], muons, events, settings)


def _one_hit_per_channel(event: NDArray[np.int64], hits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order by event and channel; a channel keeps one hit, a true one first, then the smallest radius."""
    key = event.copy()
    for name, bits in ORDER:
        value = hits[:, HIT_FEATURES.index(f"spacePoint_{name}")].astype(np.int64)
        key = (key << bits) + value + (1 << (bits - 1) if name == "stationEta" else 0)
    radius = hits[:, HIT_FEATURES.index("spacePoint_driftR")]
    order = np.lexsort((radius, hits[:, LINK] < 0, key))
    key = key[order]
    first: NDArray[np.int64] = order[np.append(True, key[1:] != key[:-1])[: key.size]]
    return first


def _finish(
    rng: np.random.Generator,
    event: NDArray[np.int64],
    hits: NDArray[np.float64],
    muons: Muons,
    events: int,
    settings: Settings,
) -> Events:
    """Cuts on tracks and hits, truth links numbered from 0 in each event, events without tracks removed."""
    link = hits[:, LINK].astype(np.int64)
    tracks_kept = np.bincount(link[link >= 0], minlength=muons.event.size) >= settings.min_hits
    num_tracks = np.bincount(muons.event[tracks_kept], minlength=events)
    before = np.cumsum(num_tracks) - num_tracks
    slot = np.where(tracks_kept, np.cumsum(tracks_kept) - 1 - before[muons.event], NO_LINK)
    hits[:, LINK] = np.where(link >= 0, slot[link], NO_LINK)

    keep = num_tracks[event] > 0
    if not settings.raw:
        keep &= _within_cap(rng, event, hits[:, LINK] < 0, events, settings.max_hits)
    num_hits = np.bincount(event[keep], minlength=events)
    muon = np.flatnonzero(tracks_kept)
    return Events(
        hits=hits[keep].astype(np.float32),
        num_hits=num_hits[num_tracks > 0],
        tracks=np.stack([muons.pt, muons.eta, muons.phi, muons.charge], axis=1)[muon].astype(np.float32),
        num_tracks=num_tracks[num_tracks > 0],
    )


def _within_cap(
    rng: np.random.Generator, event: NDArray[np.int64], background: NDArray[np.bool_], events: int, cap: int
) -> NDArray[np.bool_]:
    """Hits that stay when each event is cut to `cap` hits, background removed first, at random."""
    num_hits = np.bincount(event, minlength=events)
    order = np.lexsort((rng.random(event.size), background, event))
    rank = np.empty(event.size, dtype=np.int64)
    rank[order] = np.arange(event.size) - np.repeat(np.cumsum(num_hits) - num_hits, num_hits)
    return rank < cap
