"""A bad index of a data set gives an error that names the file and what is wrong."""

import numpy as np
import pytest
import yaml

from hitpool.files import read_index

from ..data.data_sets import Events, write_dataset


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist"):
        read_index(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["metadata.yaml", "event_file_indices.npy", "event_row_indices.npy"])
def test_missing_index_file(directory, name):
    (directory / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; the folder holds: data, event_"):
        read_index(directory)


@pytest.mark.parametrize("name", ["event_file_indices.npy", "event_row_indices.npy"])
@pytest.mark.parametrize("size", [0, 20, 140])
def test_truncated_index_file(directory, name, size):
    (directory / name).write_bytes((directory / name).read_bytes()[:size])
    with pytest.raises(ValueError, match=f"{name} is not readable as a NumPy array"):
        read_index(directory)


@pytest.mark.parametrize("name", ["event_file_indices.npy", "event_row_indices.npy"])
@pytest.mark.parametrize("values", [np.zeros(60), np.zeros((60, 1), int), np.zeros(60, bool)])
def test_index_file_of_wrong_kind(directory, name, values):
    np.save(directory / name, values)
    with pytest.raises(ValueError, match=f"{name}: expected a 1-D array of integers, got {values.dtype}"):
        read_index(directory)


def test_index_files_of_unequal_length(directory):
    np.save(directory / "event_row_indices.npy", np.arange(59))
    with pytest.raises(ValueError, match=r"event_file_indices.npy has 60 entries and event_row_indices.npy has 59"):
        read_index(directory)


@pytest.mark.parametrize("layout", ["empty index", "no events"])
def test_no_events(tmp_path, layout, directory):
    if layout == "no events":
        directory = write_dataset(tmp_path / "empty", Events([], []))
    for name in ("event_file_indices.npy", "event_row_indices.npy"):
        np.save(directory / name, [])
    with pytest.raises(ValueError, match=r"has no events: event_file_indices.npy is empty"):
        read_index(directory)


@pytest.mark.parametrize("bad", [-1, 1])
def test_file_index_out_of_range(directory, bad):
    index = np.zeros(60, np.int16)
    index[13] = bad
    np.save(directory / "event_file_indices.npy", index)
    with pytest.raises(ValueError, match=rf"event_file_indices.npy: entry 13 is {bad}, expected 0 to 0 \(1 files"):
        read_index(directory)


def test_negative_row_index(directory):
    np.save(directory / "event_row_indices.npy", np.arange(60)[::-1] - 1)
    with pytest.raises(ValueError, match=r"event_row_indices.npy: entry 59 is -1, expected at least 0"):
        read_index(directory)


def test_metadata_is_not_yaml(directory):
    (directory / "metadata.yaml").write_text("a: [1,\nb: }")
    with pytest.raises(ValueError, match=r"metadata.yaml is not readable as YAML"):
        read_index(directory)


def test_metadata_is_a_list(directory):
    (directory / "metadata.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(ValueError, match=r"metadata.yaml: expected a mapping with 'hit_features', got list"):
        read_index(directory)


@pytest.mark.parametrize("key", ["hit_features", "track_features", "event_mapping"])
def test_metadata_lacks_a_key(directory, key):
    path = directory / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    del metadata[key]
    path.write_text(yaml.safe_dump(metadata))
    with pytest.raises(ValueError, match=rf"metadata.yaml: missing '{key}'; available: .*_features"):
        read_index(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"event_mapping": {"total_events": 3}},
            "missing 'event_mapping.chunk_summary'; available: total_events",
        ),
        ({"event_mapping": {"chunk_summary": 3}}, "chunk_summary to be a list, got int"),
        (
            {"event_mapping": {"chunk_summary": [{"file": "a"}]}},
            r"missing 'chunk_summary\[0\].h5_file'; available: file",
        ),
        ({"hit_features": "spacePoint_time"}, "expected 'hit_features' to be a list of column names"),
        ({"track_features": ["a", "b", "a"]}, "'track_features' names columns more than once: a"),
        ({"truth_link": "owner"}, "truth_link is 'owner', expected one of spacePoint_globEdgeHighX, "),
        ({"units": ["mm"]}, r"expected 'units' to be a mapping of columns to units, got \['mm'\]"),
        ({"units": {"spacePoint_time": 3}}, "expected 'units' to be a mapping of columns to units"),
    ],
)
def test_metadata_of_wrong_form(directory, changes, message):
    path = directory / "metadata.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    with pytest.raises(ValueError, match=message):
        read_index(directory)


def test_truth_link_and_units(directory):
    assert (read_index(directory).truth_link, read_index(directory).units) == (None, {})
    path = directory / "metadata.yaml"
    more = {"truth_link": "spacePoint_layer", "units": {"spacePoint_time": "ns"}}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | more))
    index = read_index(directory)
    assert (index.truth_link, index.units) == ("spacePoint_layer", {"spacePoint_time": "ns"})
