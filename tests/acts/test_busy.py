"""Busy events against what the help says of them, and the track finding of ACTS against the truth."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from hitpool.acts import acts, generate
from hitpool.acts.columns import BUSY_TRACK_FEATURES, HIT_FEATURES
from hitpool.data import EventDataset
from hitpool.residuals import periodic_residual, sigma68

pytest.importorskip("acts", reason="ACTS is not installed (hitpool[acts])")

EVENTS = 100
TRACKS = {name: i for i, name in enumerate(BUSY_TRACK_FEATURES)}


class Content:
    """Hits and tracks of each event, and its found tracks as lists of hits with the particles that belong to them."""

    def __init__(self, folder: Path) -> None:
        self.metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
        with h5py.File(folder / "data" / "events_0000.h5") as file:
            self.hits, self.tracks = (
                [rows[:count].astype(np.float64) for rows, count in zip(file[name], file[f"num_{name}"], strict=True)]
                for name in ("hits", "tracks")
            )
        with h5py.File(folder / "ckf.h5") as file:
            self.found = {name: values[:] for name, values in file.items()}
        self.links = [hits[:, -1].astype(int) for hits in self.hits]
        lists = np.split(self.found["hits"], np.cumsum(self.found["num_hits"])[:-1])
        first = np.cumsum(self.found["num_tracks"])
        self.lists = [lists[stop - n : stop] for stop, n in zip(first, self.found["num_tracks"], strict=True)]

    def column(self, name: str) -> np.ndarray:
        return np.concatenate(self.tracks)[:, TRACKS[name]]

    def own_hits(self) -> np.ndarray:
        """Number of hits of each track."""
        return np.concatenate(
            [np.bincount(k[k >= 0], minlength=len(t)) for k, t in zip(self.links, self.tracks, strict=True)]
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("busy") / "set"
    acts(path, EVENTS, seed=3, workers=1, profile="busy")
    return path


@pytest.fixture(scope="module")
def content(folder: Path) -> Content:
    return Content(folder)


def test_particles_are_those_of_the_help() -> None:
    from hitpool.acts.busy import shoot_busy

    rng = np.random.default_rng(5)
    events = [shoot_busy(rng) for _ in range(1000)]
    counts = np.array([len(event.charge) for event in events])
    assert (counts.min(), counts.max()) == (20, 60)
    assert counts.mean() == pytest.approx(40, rel=0.05)
    assert {len(np.unique(event.vertex[:, 2])) for event in events} <= set(range(2, 13))
    momentum = np.concatenate([event.momentum for event in events])
    pt, eta = momentum[:, 0], momentum[:, 1]
    assert 0.5 <= pt.min() < pt.max() <= 20
    for threshold in (0.7, 1.0, 4.0):  # the integral of pT^-2
        expected = (1 / threshold - 1 / 20) / (1 / 0.5 - 1 / 20)
        assert (pt > threshold).mean() == pytest.approx(expected, abs=0.01)
    assert abs(eta).max() <= 2.5
    assert np.mean(abs(eta) < 1) == pytest.approx(0.4, abs=0.02)
    pdg, charge = (np.concatenate([getattr(event, name) for event in events]) for name in ("pdg", "charge"))
    assert set(np.unique(pdg)) == {-211, -13, 13, 211}
    assert np.mean(abs(pdg) == 211) == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(charge, np.where(abs(pdg) == 211, np.sign(pdg), -np.sign(pdg)))
    vertex = np.concatenate([np.unique(event.vertex, axis=0) for event in events])
    np.testing.assert_allclose(vertex.std(0), [0.0125, 0.0125, 50], rtol=0.05)


def test_tracks_have_their_hits(content: Content) -> None:
    sizes = np.array([len(tracks) for tracks in content.tracks])
    assert len(sizes) == EVENTS
    assert 15 <= sizes.min() < 30 < 50 < sizes.max() <= 60
    assert content.own_hits().min() >= 6
    for link, tracks in zip(content.links, content.tracks, strict=True):
        assert -1 <= link.min() < link.max() < len(tracks)


def test_hits_of_hard_particles_lie_where_they_go(content: Content) -> None:
    for hits, link, tracks in zip(content.hits, content.links, content.tracks, strict=True):
        own = tracks[link]
        hard = (link >= 0) & (own[:, TRACKS["pt"]] > 5) & (np.hypot(hits[:, 0], hits[:, 1]) < 200)
        phi = np.arctan2(hits[hard, 1], hits[hard, 0])
        assert (abs(periodic_residual(phi, own[hard, TRACKS["phi"]])) < 0.05).all()


def test_noise_has_its_share(content: Content) -> None:
    share = np.array([(link < 0).sum() / (link >= 0).sum() for link in content.links])
    assert 0.09 < share.min() < 0.14
    assert 0.26 < share.max() < 0.34
    assert share.mean() == pytest.approx(0.2, abs=0.02)
    hits, noise = np.concatenate(content.hits), np.concatenate(content.links) < 0
    columns = [HIT_FEATURES.index(name) for name in ("volume", "layer")]
    layers = hits[:, columns] @ [100, 1]
    for layer in np.unique(layers):
        own = layers == layer
        if own.sum() > 500:
            assert noise[own].mean() == pytest.approx(noise.mean(), abs=0.06)


@pytest.mark.parametrize("volume", [8, 12])  # rectangles and trapezoids
def test_noise_is_everywhere_in_a_module(volume: int) -> None:
    import acts as wheel

    from hitpool.acts.detector import generic_detector

    detector, rng = generic_detector(), np.random.default_rng(2)
    surfaces = detector.geometry.geoIdSurfaceMap()
    identifier = next(i for i in surfaces if i.volume == volume and i.sensitive)
    module, bounds = detector.module(identifier), surfaces[identifier].bounds
    points = np.array([detector.point(identifier, *rng.random(2)) for _ in range(20_000)])
    local = (points - module.origin) @ module.axes.T
    np.testing.assert_allclose(module.origin + local @ module.axes, points, atol=1e-9)
    assert all(bounds.inside(wheel.Vector2(*own)) for own in local[:1000])
    box = rng.uniform(-abs(local).max(0), abs(local).max(0), (60_000, 2))  # the same by rejection
    box = box[[bounds.inside(wheel.Vector2(*own)) for own in box]]
    np.testing.assert_allclose(np.abs(local).max(0), np.abs(box).max(0), rtol=0.01)
    np.testing.assert_allclose(local.std(0), box.std(0), rtol=0.02)
    np.testing.assert_allclose(local.mean(0), box.mean(0), atol=0.02 * box.std(0).max())


def test_some_hits_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from hitpool.acts import noise
    from hitpool.acts.chain import run

    monkeypatch.setattr(noise, "NOISE", (0.0, 0.0))
    lost = {}
    for share in (0.0, 0.03):
        monkeypatch.setattr(noise, "LOST", share)
        lost[share] = run((0, 20), 1, 0, "busy").events.num_hits.sum()
    assert lost[0.03] / lost[0.0] == pytest.approx(0.97, abs=0.006)


@pytest.mark.parametrize("fit", ["kalman", "ckf"])
def test_errors_of_the_fits_are_right(content: Content, fit: str) -> None:
    fitted = np.isfinite(content.column(f"{fit}_pt"))
    assert fitted.mean() > {"kalman": 0.995, "ckf": 0.96}[fit]
    qpt = content.column(f"{fit}_q") / content.column(f"{fit}_pt") - content.column("q") / content.column("pt")
    residuals = {"qpt": qpt, "phi": periodic_residual(content.column(f"{fit}_phi"), content.column("phi"))}
    residuals |= {name: content.column(f"{fit}_{name}") - content.column(name) for name in ("eta", "d0", "z0")}
    for name, residual in residuals.items():
        pull = (residual / content.column(f"{fit}_sigma_{name}"))[fitted]
        assert 0.85 < sigma68(pull) < 1.15, name
    assert (content.column(f"{fit}_q") == content.column("q"))[fitted].mean() > 0.99


def test_clean_hard_muons_are_found(content: Content) -> None:
    clean = (abs(content.column("pdg")) == 13) & (content.column("pt") > 2) & (content.own_hits() >= 9)
    assert clean.sum() > 200
    assert np.isfinite(content.column("ckf_pt"))[clean].mean() > 0.95


def majority(hits: np.ndarray, link: np.ndarray) -> tuple[int, int]:
    """Particle that has more than half of the hits of a track, which has more than half of its; and how many."""
    for particle in set(link[hits]) - {-1}:
        common = int((link[hits] == particle).sum())
        if 2 * common > max(len(hits), (link == particle).sum()):
            return int(particle), common
    return -1, 0


def test_found_tracks_are_matched_with_their_particles(content: Content) -> None:
    summary, found = content.metadata["ckf"], content.found
    particle, duplicate = [], []
    for lists, link in zip(content.lists, content.links, strict=True):
        own = [majority(hits, link) for hits in lists]
        particle += [number for number, _ in own]
        duplicate += [
            number >= 0 and any(n == number and (m > common or (m == common and j < i)) for j, (n, m) in enumerate(own))
            for i, (number, common) in enumerate(own)
        ]
    np.testing.assert_array_equal(found["particle"], particle)
    np.testing.assert_array_equal(found["duplicate"], duplicate)
    particle, duplicate = np.array(particle), np.array(duplicate)
    assert summary["particles"] == sum(len(tracks) for tracks in content.tracks)
    assert summary["found"] == np.isfinite(content.column("ckf_pt")).sum()
    assert summary["fakes"] == (particle < 0).sum()
    assert summary["duplicates"] == duplicate.sum()
    assert summary["milliseconds_per_event"] > 0
    assert min(len(hits) for lists in content.lists for hits in lists) >= 7
    first = np.concatenate([np.full(n, k) for k, n in enumerate(found["num_tracks"])])
    for i in np.flatnonzero((particle >= 0) & ~duplicate)[:200]:
        own = content.tracks[first[i]][particle[i]]
        assert own[TRACKS["ckf_z0"]] == pytest.approx(found["parameters"][i, 1], rel=1e-6)
        assert own[TRACKS["ckf_sigma_d0"]] ** 2 == pytest.approx(found["covariance"][i, 0, 0], rel=1e-4)


def test_the_reader_takes_the_columns(folder: Path, content: Content) -> None:
    fields = ["pt", "eta", "phi", "q", "pdg"]
    dataset = EventDataset(
        folder,
        {"hit": ["x"]},
        {"particle": fields},
        max_particles=60,
        scale_factors={},
        points={},
        truth_link="truthLink",
    )
    _, targets = dataset[list(range(EVENTS))]
    assert int(targets["particle_hit_valid"].sum()) == sum((link >= 0).sum() for link in content.links)


def test_events_depend_on_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate.EVENTS_PER_BATCH, "busy", 3)
    monkeypatch.setattr(generate, "BATCHES_PER_FILE", 2)
    contents = []
    for workers in (1, 2, 3):
        acts(tmp_path / str(workers), 10, seed=4, workers=workers, profile="busy")
        own = {p.name: p.read_bytes() for p in sorted((tmp_path / str(workers)).rglob("*")) if p.is_file()}
        metadata = yaml.safe_load(own.pop("metadata.yaml"))
        assert metadata["ckf"].pop("milliseconds_per_event") > 0  # the time alone is not the same
        assert metadata["generator"]["profile"] == "busy"
        contents.append((own, metadata))
    assert len(contents[0][0]) == 5  # two files of events, two of the index, the found tracks
    assert contents[0] == contents[1] == contents[2]


def test_the_command_says_what_was_found(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hitpool.cli", "acts", "--output", "set", "--events", "4", "--profile", "busy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("CKF of ACTS: ")
    assert "ms per event on one core" in done.stdout
    assert not any(word in done.stderr for word in ("INFO", "WARNING", "ERROR", "Warning"))


def test_another_profile_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hitpool.cli", "acts", "--output", "set", "--events", "4", "--profile", "quiet"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "profile" in done.stderr
    assert not list(tmp_path.iterdir())
