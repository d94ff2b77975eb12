"""Selection of tracks and events."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hitpool.files import Events


@dataclass(frozen=True)
class Cuts:
    """Limits; None switches a cut off.

    Attributes:
        min_pt: Smallest transverse momentum of a track, in the unit of the data set (GeV).
        max_eta: Largest absolute pseudorapidity of a track.
        min_hits_per_track: Fewest hits of a track.
        min_tracks: Fewest tracks of an event, after the cuts on tracks.
        max_tracks: Most tracks of an event.
        max_hits: Most hits of an event.
    """

    min_pt: float | None = 5.0
    max_eta: float | None = 2.7
    min_hits_per_track: int | None = 3
    min_tracks: int | None = 1
    max_tracks: int | None = 2
    max_hits: int | None = 600


@dataclass(frozen=True)
class Ntuple(Events):
    """Events of a ROOT file.

    Attributes:
        link: For each hit the number of its track in the event, -1 without, int64 [all hits].
        event_number: int64 [events].
    """

    link: np.ndarray
    event_number: np.ndarray

    def chosen(self, events: np.ndarray) -> Ntuple:
        """The events that are chosen, bool [events]."""
        return replace(
            self,
            hits=self.hits[np.repeat(events, self.num_hits)],
            num_hits=self.num_hits[events],
            tracks=self.tracks[np.repeat(events, self.num_tracks)],
            num_tracks=self.num_tracks[events],
            link=self.link[np.repeat(events, self.num_hits)],
            event_number=self.event_number[events],
        )


@dataclass
class Step:
    """What is left after a cut.

    Attributes:
        cut: The cut in words.
        events: Number of events.
        tracks: Number of tracks in them.
    """

    cut: str
    events: int
    tracks: int


def select(ntuple: Ntuple, cuts: Cuts, pt: int | None, eta: int | None) -> tuple[Ntuple, list[Step]]:
    """Applies the cuts: first to tracks, then to events.

    Tracks that are left are numbered from 0 in their order; hits of the others get the link -1.

    Args:
        ntuple: Events.
        cuts: The limits.
        pt: Number of the track column of transverse momenta.
        eta: Number of the track column of pseudorapidities.

    Returns:
        The events that are left, and the numbers of events and tracks after each cut.
    """
    events = len(ntuple.num_hits)
    owner = np.repeat(np.arange(events), ntuple.num_hits)  # event of each hit
    track_owner = np.repeat(np.arange(events), ntuple.num_tracks)
    first_track = np.cumsum(ntuple.num_tracks) - ntuple.num_tracks
    linked = ntuple.link >= 0
    track_of_hit = first_track[owner[linked]] + ntuple.link[linked]  # in all tracks
    hits_of_track = np.bincount(track_of_hit, minlength=len(ntuple.tracks))

    kept = np.ones(len(ntuple.tracks), bool)
    steps = [Step("read", events, len(kept))]
    for limit, column, text, passes in (
        (cuts.min_pt, pt, "track pt >= {}", _at_least),
        (cuts.max_eta, eta, "track |eta| <= {}", _within),
        (cuts.min_hits_per_track, -1, "track hits >= {}", _at_least),
    ):
        if limit is not None:
            kept &= passes(hits_of_track if column == -1 else ntuple.tracks[:, column], limit)
            steps.append(Step(text.format(f"{limit:g}"), events, int(kept.sum())))

    num_tracks = np.bincount(track_owner[kept], minlength=events)
    good = np.ones(events, bool)
    for limit, counts, text, passes in (
        (cuts.min_tracks, num_tracks, "event tracks >= {}", _at_least),
        (cuts.max_tracks, num_tracks, "event tracks <= {}", _within),
        (cuts.max_hits, ntuple.num_hits, "event hits <= {}", _within),
    ):
        if limit is not None:
            good &= passes(counts, limit)
            steps.append(Step(text.format(f"{limit:g}"), int(good.sum()), int(num_tracks[good].sum())))

    number = np.cumsum(kept) - 1 - (np.cumsum(num_tracks) - num_tracks)[track_owner]  # of a kept track in its event
    link = np.full(len(ntuple.link), -1)
    link[linked] = np.where(kept, number, -1)[track_of_hit]
    selected = replace(
        ntuple,
        hits=ntuple.hits[good[owner]],
        num_hits=ntuple.num_hits[good],
        tracks=ntuple.tracks[kept & good[track_owner]],
        num_tracks=num_tracks[good],
        link=link[good[owner]],
        event_number=ntuple.event_number[good],
    )
    return selected, steps


def _at_least(values: np.ndarray, limit: float) -> np.ndarray:
    passed: np.ndarray = values >= limit
    return passed


def _within(values: np.ndarray, limit: float) -> np.ndarray:
    passed: np.ndarray = np.abs(values) <= limit
    return passed
