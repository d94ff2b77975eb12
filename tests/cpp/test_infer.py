"""The program hitpool-infer, compared with Python."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

EVENTS = 40


def run(*command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env={})


@pytest.fixture(scope="session")
def infer(programs: Path) -> Path:
    path = programs / "hitpool-infer"
    if not path.is_file():
        pytest.skip("CMake found no HDF5 or no yaml-cpp here")
    return path


@pytest.fixture(scope="module")
def written(infer: Path, exported: Path, data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its output, from batches of another size than the events have."""
    path = tmp_path_factory.mktemp("infer") / "tracks.h5"
    done = run(infer, exported, data_set, "--batch", "7", "--threads=3", "--output", path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    line = r"\S+: 40 events in \S+ s, \d+ events/s; a batch of 7: median \S+ ms, 99th percentile \S+ ms\n"
    assert re.fullmatch(line, done.stdout)
    assert [own.name for own in path.parent.iterdir()] == [path.name]
    return path


def test_tracks_and_assignments_are_those_of_python(written: Path, exported: Path, data_set: Path) -> None:
    extra = {"hitpool.json": ""}
    model = torch.jit.load(exported, _extra_files=extra)
    about = json.loads(extra["hitpool.json"])
    fields = [field["name"] for field in about["outputs"][0]["fields"]]
    known = yaml.safe_load((data_set / "metadata.yaml").read_text())["hit_features"]
    columns = [known.index(column["name"]) for column in about["inputs"][0]["columns"]]
    with h5py.File(written) as file:
        tracks, assignments = file["tracks"][:], file["assignments"][:]
        units = json.loads(file["tracks"].attrs["units"])
    assert units["track_truthMuon_pt"] == "GeV"
    names = ["event", "slot", "track_valid", "track_valid_prob", *(f"track_{name}" for name in fields)]
    assert tracks.dtype.names == (*names, "track_num_hits")
    assert tracks["track_valid"].dtype == np.bool_
    assert tracks["event"].tolist() == sorted(tracks["event"])
    with h5py.File(next(data_set.glob("data/*.h5"))) as file:
        for event in range(EVENTS):
            hits = torch.from_numpy(file["hits"][event, : file["num_hits"][event]][None][..., columns])
            with torch.no_grad():
                parameters, track, hit = model(hits, torch.ones(hits.shape[:2], dtype=torch.bool))
            own = tracks[tracks["event"] == event]
            assert own["slot"].tolist() == list(range(track.shape[1]))
            np.testing.assert_allclose(own["track_valid_prob"], track[0], rtol=1e-5)
            assert own["track_valid"].tolist() == (track[0] >= 0.5).tolist()
            for number, name in enumerate(fields):
                np.testing.assert_allclose(own[f"track_{name}"], parameters[0, :, number], rtol=1e-4, atol=1e-5)
            rows = assignments[assignments["event"] == event]
            slot, number = np.nonzero((hit[0] >= 0.5).numpy())
            assert (rows["slot"].tolist(), rows["hit"].tolist()) == (slot.tolist(), number.tolist())
            np.testing.assert_allclose(rows["probability"], hit[0][slot, number], rtol=1e-5)
            assert own["track_num_hits"].tolist() == np.bincount(slot, minlength=track.shape[1]).tolist()


def test_threads_and_batches_do_not_matter(
    infer: Path, written: Path, exported: Path, data_set: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.h5"
    assert run(infer, exported, data_set, "--batch=1000", "--output", path).returncode == 0
    with h5py.File(written) as one, h5py.File(path) as other:
        assert one["tracks"].shape == other["tracks"].shape
        for name in one["tracks"].dtype.names:
            np.testing.assert_allclose(one["tracks"][name], other["tracks"][name], rtol=1e-4, atol=1e-5)


def test_columns_are_found_by_name_and_files_by_the_index(
    infer: Path, written: Path, exported: Path, data_set: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(data_set, folder)
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    metadata["hit_features"].reverse()
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    with h5py.File(next(folder.glob("data/*.h5")), "r+") as file:
        file["hits"][:] = file["hits"][:][..., ::-1]
        del file["hits_crc32"]
        file.attrs["hit_features"] = file.attrs["hit_features"][::-1]
    for name in ("event_file_indices.npy", "event_row_indices.npy"):
        np.save(folder / name, np.load(folder / name)[::-1].astype(np.int64))
    path = tmp_path / "tracks.h5"
    done = run(infer, exported, folder, "--output", path)
    assert done.returncode == 0, done.stderr
    with h5py.File(written) as one, h5py.File(path) as other:
        expected = one["tracks"]["track_truthMuon_eta"].reshape(EVENTS, -1)[::-1]
        got = other["tracks"]["track_truthMuon_eta"].reshape(EVENTS, -1)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_help(infer: Path) -> None:
    done = run(infer, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: hitpool-infer MODEL DATASET [options]\n")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--event", "3"], "there is no option --event; the options are --output, --batch, --threads, --help"),
        (["model.pt"], "expected MODEL and DATASET, got 1 paths; --help lists the options"),
        (["model.pt", "events", "--batch", "0"], "--batch: expected a number from 1, got '0'"),
        (["model.pt", "events", "--threads=two"], "--threads: expected a number from 1, got 'two'"),
        (["model.pt", "events", "--batch"], "--batch: expected a value"),
    ],
)
def test_wrong_usage_is_a_line(infer: Path, options: list[str], line: str) -> None:
    done = run(infer, *options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"hitpool-infer: {line}\n")


def damage_yaml(folder: Path) -> str:
    (folder / "metadata.yaml").write_text("hit_features: 3")
    return "metadata.yaml: expected hit_features and event_mapping.chunk_summary with h5_file"


def take_yaml(folder: Path) -> str:
    (folder / "metadata.yaml").unlink()
    return "is no data set, it has no metadata.yaml"


def rename_column(folder: Path) -> str:
    path = folder / "metadata.yaml"
    path.write_text(path.read_text().replace("spacePoint_driftR", "radius"))
    return "hit_features lacks what the model uses: spacePoint_driftR; it has "


def damage_index(folder: Path) -> str:
    (folder / "event_row_indices.npy").write_bytes(b"nothing")
    return "event_row_indices.npy: is no array of NumPy"


def wrong_rows(folder: Path) -> str:
    np.save(folder / "event_row_indices.npy", np.full(EVENTS, 1000))
    return "has no row 1000"


def take_events(folder: Path) -> str:
    next(folder.glob("data/*.h5")).unlink()
    return "there is no such file"


def damage_events(folder: Path) -> str:
    next(folder.glob("data/*.h5")).write_bytes(b"nothing")
    return "is not readable as HDF5"


DAMAGES = [damage_yaml, take_yaml, rename_column, damage_index, wrong_rows, take_events, damage_events]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_data_set_is_named(infer: Path, exported: Path, data_set: Path, tmp_path: Path, damage) -> None:
    shutil.copytree(data_set, tmp_path / "events")
    line = damage(tmp_path / "events")
    done = run(infer, exported, tmp_path / "events", "--threads=2", "--output", tmp_path / "tracks.h5")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"hitpool-infer: {tmp_path / 'events'}")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert [own.name for own in tmp_path.iterdir()] == ["events"]


def test_what_cannot_be_written_is_said(infer: Path, exported: Path, data_set: Path, tmp_path: Path) -> None:
    done = run(infer, exported, data_set, "--output", tmp_path / "no" / "tracks.h5")
    assert done.returncode == 1
    assert done.stderr == f"hitpool-infer: {tmp_path / 'no' / 'tracks.h5'}.partial: cannot be written\n"
