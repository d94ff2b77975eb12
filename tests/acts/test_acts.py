"""What the generator writes, against the geometry of helices and against the errors that the Kalman filter claims."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from hitpool.acts import acts, generate
from hitpool.acts.columns import HIT_FEATURES, TRACK_FEATURES
from hitpool.data import EventDataset
from hitpool.residuals import periodic_residual, sigma68

pytest.importorskip("acts", reason="ACTS is not installed (hitpool[acts])")

EVENTS = 400
FIELD = 2.0  # T
GEV_PER_TESLA_MM = 0.299792458e-3


@dataclass
class Content:
    """Valid hits [hits] and tracks [tracks] by column, and of each hit its event and its row among the tracks."""

    hits: dict[str, np.ndarray]
    tracks: dict[str, np.ndarray]
    num_hits: np.ndarray
    num_tracks: np.ndarray
    track_of: np.ndarray


def read(folder: Path) -> Content:
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    parts = []
    for chunk in metadata["event_mapping"]["chunk_summary"]:
        with h5py.File(folder / chunk["h5_file"]) as file:
            counts = [file[name][:] for name in ("num_hits", "num_tracks")]
            valid = [
                file[name][:][np.arange(file[name].shape[1]) < number[:, None]].astype(np.float64)
                for name, number in zip(("hits", "tracks"), counts, strict=True)
            ]
            parts.append((*valid, *counts))
    hits, tracks, num_hits, num_tracks = (np.concatenate(part) for part in zip(*parts, strict=True))
    named = dict(zip(HIT_FEATURES, hits.T, strict=True))
    first = np.repeat(np.cumsum(num_tracks) - num_tracks, num_hits)
    track_of = np.where(named["truthLink"] >= 0, first + named["truthLink"], -1).astype(int)
    return Content(named, dict(zip(TRACK_FEATURES, tracks.T, strict=True)), num_hits, num_tracks, track_of)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("acts") / "set"
    acts(path, EVENTS, seed=3, workers=1)
    return path


@pytest.fixture(scope="module")
def content(folder: Path) -> Content:
    return read(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_muons_are_those_of_the_help(content: Content) -> None:
    assert set(np.unique(content.num_tracks)) == {1, 2, 3}
    assert len(content.num_tracks) == EVENTS
    pt, eta = content.tracks["pt"], content.tracks["eta"]
    assert 1 <= pt.min() < 1.2
    assert 80 < pt.max() <= 100
    assert np.median(np.log(pt)) == pytest.approx(np.log(10), abs=0.3)  # the middle of log(1) and log(100)
    assert -2.5 <= eta.min() < -2.4
    assert 2.4 < eta.max() <= 2.5
    assert abs(content.tracks["q"].mean()) < 0.15
    assert content.tracks["d0"].std() == pytest.approx(0.0125, rel=0.15)
    assert content.tracks["z0"].std() == pytest.approx(50, rel=0.15)
    assert np.bincount(content.track_of[content.track_of >= 0], minlength=len(pt)).min() >= 6


def test_hits_have_the_precision_of_their_modules(content: Content) -> None:
    axes = np.array([[content.hits[f"loc{i}_{a}"] for a in "xyz"] for i in range(2)])  # [2, 3, hits]
    np.testing.assert_allclose(np.einsum("iah,jah->ijh", axes, axes), np.eye(2)[..., None] + 0 * axes[:, :1], atol=1e-6)
    widths = {7: (0.05, 0.05), 12: (0.08, 1.2), 16: (0.12, 10.8)}
    for volume in np.unique(content.hits["volume"]):
        own = content.hits["volume"] == volume
        expected = next(width for first, width in widths.items() if first <= volume <= first + 2)
        for i in range(2):
            np.testing.assert_allclose(content.hits[f"var_loc{i}"][own] * 12, expected[i] ** 2, rtol=1e-5)


def test_hits_lie_on_the_true_helices(content: Content) -> None:
    hits, of = content.hits, content.track_of
    pt, eta, phi, q, d0, z0 = (content.tracks[name][of] for name in ("pt", "eta", "phi", "q", "d0", "z0"))
    hard = (of >= 0) & (pt > 20)
    assert hard.sum() > 1000
    curvature = -q * GEV_PER_TESLA_MM * FIELD / pt  # 1/mm: positive charges turn clockwise in a field along +z
    # Path in the transverse plane from the beam line to the radius of the hit, then the point of the helix there.
    radius = np.hypot(hits["x"], hits["y"])
    path = 2 / curvature * np.arcsin(curvature * radius / 2)
    helix = np.array(
        [
            -d0 * np.sin(phi) + (np.sin(phi + curvature * path) - np.sin(phi)) / curvature,
            d0 * np.cos(phi) - (np.cos(phi + curvature * path) - np.cos(phi)) / curvature,
            z0 + path * np.sinh(eta),
        ]
    )
    direction = np.array([np.cos(phi + curvature * path), np.sin(phi + curvature * path), np.sinh(eta)])
    axes = [np.array([hits[f"loc{i}_{a}"] for a in "xyz"]) for i in range(2)]
    normal = np.cross(axes[0], axes[1], axis=0)
    measured = np.array([hits[a] for a in "xyz"])
    # Along the track to the plane of the module.
    helix = helix + direction * (((measured - helix) * normal).sum(0) / (direction * normal).sum(0))
    for axis, variance in zip(axes, (hits["var_loc0"], hits["var_loc1"]), strict=True):
        inner = hard & (radius < 100)  # where scattering is still small
        pull = (((measured - helix) * axis).sum(0) / np.sqrt(variance))[inner]
        assert abs(np.median(pull)) < 0.3
        assert 0.9 < sigma68(pull) < 2.5
    distance = np.abs(((measured - helix) * axes[0]).sum(0))[hard]
    assert np.quantile(distance, 0.99) < 1.5  # mm


def test_kalman_errors_are_right(content: Content) -> None:
    tracks = content.tracks
    assert np.isfinite(tracks["kalman_pt"]).mean() > 0.995
    tracks = {name: values[np.isfinite(tracks["kalman_sigma_qpt"])] for name, values in tracks.items()}
    qpt = tracks["kalman_q"] / tracks["kalman_pt"] - tracks["q"] / tracks["pt"]
    residuals = {"qpt": qpt, "phi": periodic_residual(tracks["kalman_phi"], tracks["phi"])}
    residuals |= {name: tracks[f"kalman_{name}"] - tracks[name] for name in ("eta", "d0", "z0")}
    for name, residual in residuals.items():
        pull = residual / tracks[f"kalman_sigma_{name}"]
        assert abs(pull.mean()) < 5 * pull.std() / np.sqrt(pull.size), name
        assert 0.85 < sigma68(pull) < 1.15, name
    assert (tracks["kalman_q"] == tracks["q"]).mean() > 0.995
    assert sigma68((tracks["kalman_pt"] - tracks["pt"]) / tracks["pt"]) < 0.03


def test_errors_are_propagated_linearly() -> None:
    from hitpool.acts.recorder import kalman_parameters

    rng = np.random.default_rng(5)
    mean = np.array([0.1, 20.0, 0.7, 1.1, -0.05])
    mixing = rng.normal(size=(5, 5)) * np.array([1e-2, 1e-2, 1e-4, 1e-4, 1e-4])[:, None]
    pt, eta, phi, q, d0, z0, *sigmas = kalman_parameters(mean, mixing @ mixing.T)
    np.testing.assert_allclose([pt, eta, phi, q, d0, z0], [20 * np.sin(1.1), -np.log(np.tan(0.55)), 0.7, -1, 0.1, 20])
    draws = mean + rng.normal(size=(200_000, 5)) @ mixing.T
    spread = np.std(
        [
            draws[:, 4] / np.sin(draws[:, 3]),
            -np.log(np.tan(draws[:, 3] / 2)),
            draws[:, 2],
            draws[:, 0],
            draws[:, 1],
        ],
        axis=1,
    )
    np.testing.assert_allclose(sigmas, spread, rtol=0.02)
    assert np.isnan(kalman_parameters(mean, -np.eye(5))[6:]).all()


def test_the_reader_takes_the_columns(folder: Path, content: Content) -> None:
    fields = ["x", "y", "z", "volume", "layer", "module", "var_loc0", "var_loc1"]
    dataset = EventDataset(
        folder,
        {"hit": fields},
        {"particle": ["pt", "eta", "phi", "q", "qpt", "d0", "z0"]},
        max_particles=3,
        scale_factors={"x": 1e-3, "y": 1e-3, "z": 1e-3},
        points={},
        truth_link="truthLink",
    )
    inputs, targets = dataset[list(range(EVENTS))]
    assert len(dataset) == EVENTS
    np.testing.assert_allclose(inputs["hit_x"][inputs["hit_valid"]] * 1e3, content.hits["x"], rtol=1e-5)
    np.testing.assert_allclose(targets["particle_d0"][targets["particle_valid"]], content.tracks["d0"], rtol=1e-6)
    assert int(targets["particle_hit_valid"].sum()) == (content.track_of >= 0).sum()


def test_a_failed_fit_is_no_obstacle_to_the_reader(tmp_path: Path) -> None:
    acts(tmp_path / "set", 5, workers=1)
    with h5py.File(tmp_path / "set" / "data" / "events_0000.h5", "r+") as file:
        tracks = file["tracks"][:]
        tracks[..., [name.startswith("kalman") for name in TRACK_FEATURES]] = np.nan
        file["tracks"][:] = tracks
        del file["tracks_crc32"]
    options = {"max_particles": 3, "truth_link": "truthLink", "scale_factors": {}, "points": {}}
    dataset = EventDataset(tmp_path / "set", {"hit": ["x"]}, {"particle": ["pt"]}, **options)
    assert dataset.particle_values()["pt"].isfinite().all()


def test_events_depend_on_seed_and_split_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate.EVENTS_PER_BATCH, "muons", 10)
    monkeypatch.setattr(generate, "BATCHES_PER_FILE", 2)
    for workers in (1, 2, 3):
        acts(tmp_path / str(workers), 45, seed=4, workers=workers)
    assert files(tmp_path / "1") == files(tmp_path / "2") == files(tmp_path / "3")
    chosen = {}
    for seed, split in ((4, 0), (4, 1), (5, 0)):
        acts(tmp_path / f"{seed}-{split}", 10, seed=seed, split=split, workers=1)
        chosen[seed, split] = read(tmp_path / f"{seed}-{split}")
    assert len({content.tracks["pt"][0] for content in chosen.values()}) == 3
    assert len({content.hits["x"][0] for content in chosen.values()}) == 3
    np.testing.assert_array_equal(chosen[4, 0].hits["x"], read(tmp_path / "1").hits["x"][: chosen[4, 0].num_hits.sum()])


def test_detector_response_differs_between_batches(content: Content) -> None:
    # Residuals of the fits would repeat if the random numbers of Fatras and of the digitisation did.
    residual = content.tracks["kalman_d0"] - content.tracks["d0"]
    assert len(np.unique(residual)) > 0.99 * residual.size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": 0}, "events: expected at least 1, got 0"),
        ({"events": 1, "workers": 0}, "workers: expected at least 1, got 0"),
        ({"events": 1, "seed": -1}, "seed: expected at least 0, got -1"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        acts(tmp_path / "set", **options)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        acts(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_the_command_shows_its_progress_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hitpool.cli", "acts", "--output", "set", "--events", "20"]
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert "20/20 events" in lines[-1]
    assert "simulating" in lines[0]
    assert not any(word in done.stderr for word in ("INFO", "WARNING", "ERROR", "Warning"))
