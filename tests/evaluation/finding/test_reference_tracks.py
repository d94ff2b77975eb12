"""Particles and found tracks as they are in a data set whose events are not in the order of the rows."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from hitpool.data import EventDataset
from hitpool.evaluation.finding.particles import Particles, read_particles
from hitpool.evaluation.finding.reference_tracks import reference_tracks
from hitpool.files import Events, FoundTracks, found_tracks_path, write_data_set, write_found_tracks

EVENTS, MOST = 30, 60
COLUMNS = ("true_pt", "true_eta", "true_phi", "true_q", "true_z0", "fit_pt")


class Made:
    """Links and tracks of each event in the order of the data set, and what was found: lists of hits."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(9)
        counts = random.integers(1, MOST + 1, EVENTS)
        self.links = [random.permutation(np.repeat(np.arange(-1, n), random.integers(5, 15, n + 1))) for n in counts]
        self.tracks = [np.abs(random.normal(size=(n, len(COLUMNS)))).astype(np.float32) for n in counts]
        order = random.permutation(EVENTS)  # row of each event
        rows = np.argsort(order)
        hits = [np.stack([np.zeros(len(self.links[e])), self.links[e]], -1).astype(np.float32) for e in rows]
        events = Events(
            np.concatenate(hits),
            np.array([len(own) for own in hits]),
            np.concatenate([self.tracks[e] for e in rows]),
            counts[rows],
        )
        write_data_set(folder, [events], ["x", "link"], COLUMNS, {}, "test", more={"units": {"true_z0": "mm"}})
        np.save(folder / "event_row_indices.npy", order)
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
        del metadata["event_mapping"]["index_crc32"]
        (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
        self.found = [[self.track(random, link) for _ in range(random.integers(0, 50))] for link in self.links]
        flat = [hits for own in self.found for hits in own]
        self.parameters = np.column_stack(
            [random.normal(size=(len(flat), 3)), random.uniform(0.3, 2.8, len(flat)), random.normal(size=len(flat))]
        )
        write_found_tracks(
            found_tracks_path(folder, "ckf"),
            FoundTracks(
                np.array([len(own) for own in self.found]),
                np.array([len(hits) for hits in flat]),
                np.concatenate(flat),
                self.parameters,
                np.tile(np.eye(5), (len(flat), 1, 1)),
            ),
        )

    @staticmethod
    def track(random: np.random.Generator, link: np.ndarray) -> np.ndarray:
        own = np.flatnonzero(link == random.integers(link.max() + 1))
        others = random.choice(len(link), random.integers(0, 6), replace=False)
        return np.union1d(own[random.random(len(own)) < 0.8], others)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("found") / "set"


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    return Made(folder)


def read(folder: Path, num_events: int = -1) -> tuple[EventDataset, Particles]:
    dataset = EventDataset(
        folder,
        {"hit": ["x"]},
        {"particle": ["true_qpt", "fit_pt"]},
        num_events,
        max_particles=MOST,
        scale_factors={},
        points={},
        truth_link="link",
    )
    return dataset, read_particles(dataset, dataset.particles.fields, "link")


@pytest.mark.parametrize("num_events", [-1, 11])
def test_particles_and_tracks_are_those_of_the_event(made: Made, folder: Path, num_events: int) -> None:
    dataset, particles = read(folder, num_events)
    found = reference_tracks(dataset.index, "ckf", particles)
    np.testing.assert_array_equal(particles.events, dataset.sample_id)
    first = np.append(0, np.cumsum([len(own) for own in made.found]))
    track = 0
    for row, event in enumerate(dataset.sample_id):
        link, tracks = made.links[event], made.tracks[event]
        slots = np.flatnonzero(particles.event == row)
        np.testing.assert_array_equal(particles.slot[slots], np.arange(len(tracks)))
        np.testing.assert_array_equal(particles.values["pt"][slots], tracks[:, 0])
        np.testing.assert_array_equal(particles.values["z0"][slots], tracks[:, 4])
        np.testing.assert_array_equal(particles.hits[slots], np.bincount(link[link >= 0], minlength=len(tracks)))
        for number, hits in enumerate(made.found[event]):
            belonging = [
                n
                for n in range(len(tracks))
                if 2 * sum(link[hits] == n) > len(hits) and 2 * sum(link[hits] == n) > sum(link == n)
            ]
            assert found.event[track] == row
            assert found.hits[track] == len(hits)
            assert found.particle[track] == (slots[belonging[0]] if belonging else -1)
            assert found.values["z0"][track] == made.parameters[first[event] + number, 1]
            track += 1
    assert track == len(found.event)
    assert min(found.duplicate.sum(), (found.particle < 0).sum()) > 20


def test_a_hit_that_is_not_there_is_named(made: Made, folder: Path, tmp_path: Path) -> None:
    dataset, particles = read(folder)
    tracks = FoundTracks(
        np.append(1, np.zeros(EVENTS - 1, int)), np.array([1]), np.array([5000]), np.ones((1, 5)), np.ones((1, 5, 5))
    )
    write_found_tracks(found_tracks_path(folder, "other"), tracks)
    expected = rf"other.h5: a track has hit 5000, expected rows of the {len(made.links[0])} hits of event 0"
    with pytest.raises(ValueError, match=expected):
        reference_tracks(dataset.index, "other", particles)


def test_targets_without_a_known_quantity_are_named(made: Made, folder: Path) -> None:
    dataset, _ = read(folder)
    with pytest.raises(ValueError, match="no target of the model is a known quantity, only energy"):
        read_particles(dataset, ["energy"], "link")
