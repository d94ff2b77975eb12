from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from hitpool.files import (
    EventIndex,
    Events,
    FoundTracks,
    found_tracks_path,
    milliseconds_per_event,
    read_found_tracks,
    read_index,
    write_data_set,
    write_found_tracks,
)


def three_tracks() -> FoundTracks:
    """One track, none, and two."""
    covariance = np.broadcast_to(np.eye(5, dtype=np.float32), (3, 5, 5))
    return FoundTracks(
        np.array([1, 0, 2]), np.array([3, 2, 3]), np.array([0, 1, 2, 0, 3, 1, 2, 3]), np.ones((3, 5)), covariance
    )


@pytest.fixture
def index(tmp_path: Path) -> EventIndex:
    events = Events(np.zeros((12, 2), np.float32), np.full(3, 4), np.zeros((3, 1), np.float32), np.ones(3, int))
    write_data_set(tmp_path / "set", [events], ["x", "link"], ["pt"], {}, "test")
    return read_index(tmp_path / "set")


def test_what_is_written_is_read(index: EventIndex) -> None:
    written = three_tracks()
    write_found_tracks(found_tracks_path(index.directory, "ckf"), written, particle=np.array([0, -1, 0]))
    read = read_found_tracks(index, "ckf")
    for name, values in vars(written).items():
        np.testing.assert_array_equal(getattr(read, name), values)
    with h5py.File(index.directory / "ckf.h5") as file:
        assert file["parameters"].attrs["names"].astype(str).tolist() == ["d0", "z0", "phi", "theta", "q/p"]
        assert file["parameters"].attrs["units"].astype(str).tolist() == ["mm", "mm", "rad", "rad", "1/GeV"]
        assert file["particle"][:].tolist() == [0, -1, 0]


def test_a_missing_file_is_named(index: EventIndex) -> None:
    with pytest.raises(FileNotFoundError, match=r"found tracks .*set/ckf.h5 does not exist"):
        read_found_tracks(index, "ckf")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("num_tracks", [1, 2], r"'num_tracks' to be \[3\], for 3 events .* got \[2\]"),
        ("num_tracks", [1, 1, 2], r"'num_hits' to be \[4\], .* got \[3\]"),
        ("hits", [0, 1], r"'hits' to be \[8\], .* got \[2\]"),
        ("parameters", np.ones((3, 4)), r"'parameters' to be \[3, 5\]"),
        ("hits", [0, 1, 2, 0, 3, 1, 2, 1], r"track 2 names one of its hits twice"),
        ("covariance", None, r"expected covariance, got hits, num_hits, num_tracks, parameters"),
    ],
)
def test_what_does_not_fit_is_named(index: EventIndex, name: str, values: object, message: str) -> None:
    path = found_tracks_path(index.directory, "ckf")
    write_found_tracks(path, three_tracks())
    with h5py.File(path, "a") as file:
        names = file[name].attrs.get("names")
        del file[name]
        if values is not None:
            file[name] = np.asarray(values)
            if names is not None:
                file[name].attrs["names"] = names
    with pytest.raises(ValueError, match=message):
        read_found_tracks(index, "ckf")


def test_other_parameters_are_refused(index: EventIndex) -> None:
    path = found_tracks_path(index.directory, "ckf")
    write_found_tracks(path, three_tracks())
    with h5py.File(path, "a") as file:
        file["parameters"].attrs["names"] = np.array(["d0", "z0", "phi", "eta", "q/p"], dtype="S")
    with pytest.raises(ValueError, match="expected the parameters d0, z0, phi, theta, q/p, got d0, z0, phi, eta, q/p"):
        read_found_tracks(index, "ckf")


def test_a_damaged_file_is_named(index: EventIndex) -> None:
    found_tracks_path(index.directory, "ckf").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"ckf.h5 is not readable as HDF5"):
        read_found_tracks(index, "ckf")


def test_the_time_is_that_of_the_metadata(index: EventIndex) -> None:
    assert milliseconds_per_event(index, "ckf") is None
    path = index.directory / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text()) | {"ckf": {"milliseconds_per_event": 6.5}}
    path.write_text(yaml.safe_dump(metadata))
    assert milliseconds_per_event(index, "ckf") == 6.5
    assert milliseconds_per_event(index, "other") is None
