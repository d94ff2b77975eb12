"""Changed numbers are noticed, and what to do is said."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.data import EventDataset
from hitpool.files import write_data_set
from hitpool.inspection.scan import inspect
from hitpool.simulation import HIT_FEATURES, Settings, generate_events

from .data_sets import TRACK_COLUMNS

FILE = Path("data", "events_0001.h5")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "set"
    random = np.random.default_rng(3)
    files = [generate_events(random, 5, Settings()) for _ in range(2)]
    write_data_set(folder, files, HIT_FEATURES, TRACK_COLUMNS, {}, "test")
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy that may be changed; event 7 lies in row 2 of the second file."""
    return shutil.copytree(good, tmp_path / "set")


def load(folder: Path, **options: object) -> EventDataset:
    return EventDataset(folder, {"hit": ["spacePoint_driftR"]}, {"particle": TRACK_COLUMNS}, **options)


def change(folder: Path, name: str, *place: int) -> None:
    with h5py.File(folder / FILE, "r+") as file:
        file[name][place] += 1


def message(name: str, where: str) -> str:
    return (
        f"{where}: '{name}' do not have their checksum '{name}_crc32': the file is damaged, or was changed; if it was "
        f"changed on purpose, remove '{name}_crc32' from it"
    )


def remove(folder: Path, name: str) -> None:
    with h5py.File(folder / FILE, "r+") as file:
        del file[f"{name}_crc32"]


@pytest.mark.parametrize("place", [("hits", 2, 1, 14), ("num_hits", 2)])
def test_changed_hits(folder: Path, place: tuple[str, int]) -> None:
    change(folder, *place)
    dataset = load(folder)
    expected = message("hits", f"event 7 (file {folder / FILE}, row 2)")
    for read in (dataset.check_hits, lambda: dataset[7]):
        with pytest.raises(ValueError, match=re.escape(expected)):
            read()
    assert len(dataset[[0, 1, 2, 3, 4, 5, 6, 8, 9]][0]["hit_valid"]) == 9
    assert message("hits", f"{folder / FILE}, row 2") in [f.example for f in inspect(folder).findings.values()]
    remove(folder, "hits")
    if place[0] == "hits":
        assert inspect(folder).findings.readable
        load(folder).check_hits()


def test_changed_tracks(folder: Path) -> None:
    change(folder, "tracks", 2, 0, 0)
    expected = message("tracks", f"{folder / FILE}, row 2")
    with pytest.raises(ValueError, match=re.escape(expected)):
        load(folder)
    load(folder, num_events=1, seed=1)  # of another event
    assert expected in [finding.example for finding in inspect(folder).findings.values()]
    remove(folder, "tracks")
    load(folder)


@pytest.mark.parametrize("kind", ["group", "length"])
def test_checksums_of_another_kind(folder: Path, kind: str) -> None:
    remove(folder, "hits")
    with h5py.File(folder / FILE, "r+") as file:
        if kind == "group":
            file.create_group("hits_crc32")
        else:
            file["hits_crc32"] = np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match=r"events_0001.h5: expected 'hits_crc32' to hold 5 unsigned integers, got <"):
        load(folder)


@pytest.mark.parametrize("part", ["event_file_indices.npy", "event_row_indices.npy", "list of files"])
def test_changed_index(folder: Path, part: str) -> None:
    path = folder / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    mapping = metadata["event_mapping"]
    if part == "list of files":
        mapping["chunk_summary"][0]["h5_file"] = FILE.as_posix()
        path.write_text(yaml.safe_dump(metadata))
    else:
        values = np.load(folder / part)
        values[[1, 7]] = values[[7, 1]]
        np.save(folder / part, values)
    expected = (
        rf"{part} does not have its checksum, event_mapping.index_crc32.\w+ in metadata.yaml: .* remove index_crc"
    )
    for read in (load, inspect):
        with pytest.raises(ValueError, match=expected):
            read(folder)
    del mapping["index_crc32"]
    path.write_text(yaml.safe_dump(metadata))
    assert len(load(folder)) == 10


def test_damaged_unpacked_file(folder: Path, tmp_path: Path) -> None:
    for name in (path.name for path in folder.glob("data/*.h5")):
        with h5py.File(folder / "data" / name, "r+") as file:
            values = file["hits"][:]
            del file["hits"], file["hits_crc32"]  # compressed, and of other origin
            file.create_dataset("hits", data=values, compression="gzip")
    unpacked = tmp_path / "unpacked"
    wanted = load(folder, unpack_dir=unpacked)[7]
    (path,) = unpacked.glob("events_0001*.hits")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    dataset = load(folder, unpack_dir=unpacked)
    expected = rf"event \d \(file .*: its unpacked hits in {re.escape(str(path))} are damaged; remove that file"
    with pytest.raises(ValueError, match=expected):
        dataset.check_hits()
    for repair in (path.unlink, lambda: path.write_bytes(content[:-1])):  # what has another size is not used
        repair()
        found = load(folder, unpack_dir=unpacked)[7]
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
