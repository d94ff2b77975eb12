"""A bad event file gives an error that names it and what is wrong."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitpool.files import Events, open_event_file, write_event_file

from ..data.data_sets import HIT_COLUMNS, TRACK_COLUMNS, make_events, write_dataset

FILE = "data/filtered_events.h5"


def read(path: Path, hit_columns: list[str] = HIT_COLUMNS, track_columns: list[str] = TRACK_COLUMNS) -> Events:
    """All events of a file."""
    flat = []
    with open_event_file(path, hit_columns, track_columns) as file:
        for dataset, counts in ((file.hits, file.num_hits), (file.tracks, file.num_tracks)):
            blocks = [block for _, block in file.slabs(dataset, np.arange(len(file)))]
            rows = [row[:count] for row, count in zip((row for block in blocks for row in block), counts, strict=True)]
            flat += [np.concatenate([np.empty((0, dataset.shape[2]), np.float32), *rows]), counts]
    return Events(*flat)


@pytest.mark.parametrize("slab", [1, 2**20])
@pytest.mark.parametrize("num_hits", [[3, 0, 5, 1], [0, 0], []])
def test_what_is_written_is_read(tmp_path, monkeypatch, num_hits, slab):
    monkeypatch.setattr("hitpool.files.event_file.SLAB_BYTES", slab)
    random, num_hits = np.random.default_rng(0), np.array(num_hits, np.int32)
    num_tracks = np.arange(len(num_hits), dtype=np.int16)
    written = Events(
        random.normal(size=(num_hits.sum(), 3)).astype(np.float32),
        num_hits,
        random.normal(size=(num_tracks.sum(), 2)).astype(np.float32),
        num_tracks,
    )
    numbers, columns = 100 + np.arange(len(num_hits)), (["x", "y", "z"], ["pt", "eta"])
    write_event_file(tmp_path / "new" / "a.h5", *columns, written, numbers, {"origin": "here"})
    found = read(tmp_path / "new" / "a.h5", *columns)
    for name, values in vars(written).items():
        np.testing.assert_array_equal(getattr(found, name), values)
    with h5py.File(tmp_path / "new" / "a.h5") as file:
        assert file.attrs["origin"] == "here"
        assert file["event_numbers"][:].tolist() == numbers.tolist()
        assert (file["num_hits"].dtype, file["num_tracks"].dtype) == (np.int32, np.int16)
        assert np.isnan(file["hits"][:]).sum() == 3 * (file["hits"].shape[0] * file["hits"].shape[1] - num_hits.sum())


def test_missing_event_file(directory):
    (directory / FILE).rename(directory / "data/other.h5")
    with pytest.raises(FileNotFoundError, match=r"filtered_events.h5 is missing; .*data has: other.h5"):
        read(directory / FILE)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("layout", ["tracking", "filtering"])
def test_truncated_event_file(tmp_path, layout, share):
    directory = write_dataset(tmp_path / "set", make_events(20), layout)
    content = (directory / FILE).read_bytes()
    (directory / FILE).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"filtered_events.h5 is not readable as HDF5 \(truncated or damaged\)"):
        read(directory / FILE)


def test_damaged_compressed_hits(tmp_path):
    directory = write_dataset(tmp_path / "set", make_events(60), "filtering")
    with h5py.File(directory / FILE) as file:
        rows = file["hits"].chunks[0]
        chunk = file["hits"].id.get_chunk_info_by_coord((rows, 0, 0))  # the second block of rows
    with (directory / FILE).open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(b"hitpool hitpool")
    with pytest.raises(ValueError, match=rf"filtered_events.h5: 'hits' of row {rows} is damaged"):
        read(directory / FILE)


@pytest.mark.parametrize("name", ["hits", "tracks", "num_hits", "num_tracks"])
def test_missing_data_set(directory, name):
    with h5py.File(directory / FILE, "r+") as file:
        del file[name]
    with pytest.raises(ValueError, match=rf"filtered_events.h5: missing data set '{name}'; available: event_numbers"):
        read(directory / FILE)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("hits", np.zeros((60, 20)), "expected 'hits' with 3 dimensions"),
        ("num_hits", np.zeros((60, 1), int), "expected 'num_hits' with 1 dimensions"),
        ("hits", np.zeros((60, 43, 19)), "'hits' has 19 columns, but hit_features in metadata.yaml names 20"),
        (
            "tracks",
            np.zeros((60, 2, 5)),
            "'tracks' has 5 columns, but track_features in metadata.yaml names 4",
        ),
        ("hits", np.zeros((60, 43, 20), "S3"), "expected 'hits' to hold numbers"),
        ("num_tracks", np.zeros(60), "expected 'num_tracks' to hold integers, got dtype float64"),
        (
            "num_hits",
            np.zeros(59, int),
            "expected the same number of rows in all data sets, got .*'num_hits': 59",
        ),
    ],
)
def test_data_set_of_wrong_form(directory, name, values, message):
    with h5py.File(directory / FILE, "r+") as file:
        del file[name]
        file[name] = values
    with pytest.raises(ValueError, match=rf"filtered_events.h5: {message}"):
        read(directory / FILE)


def test_column_names_of_file_and_metadata_disagree(directory):
    with pytest.raises(ValueError, match=r"filtered_events.h5: attribute hit_features .* differs from metadata.yaml"):
        read(directory / FILE, HIT_COLUMNS[::-1])
