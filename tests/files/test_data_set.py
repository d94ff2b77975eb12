import h5py
import numpy as np
import pytest
import yaml

from hitpool.files import write_data_set
from hitpool.simulation import HIT_FEATURES, TRACK_FEATURES, Settings, generate_events


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    return [generate_events(rng, n, Settings()) for n in (30, 20)]


def write(folder, parts):
    generator = {"version": 1, "seed": 7}
    write_data_set(folder, parts, HIT_FEATURES, TRACK_FEATURES, generator, "test")


def test_layout(tmp_path, parts):
    write(tmp_path / "new" / "set", parts)
    folder = tmp_path / "new" / "set"
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "data/events_0000.h5",
        "data/events_0001.h5",
        "event_file_indices.npy",
        "event_row_indices.npy",
        "metadata.yaml",
    ]
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    assert metadata["hit_features"] == list(HIT_FEATURES)
    assert metadata["track_features"] == list(TRACK_FEATURES) == [
        "truthMuon_pt", "truthMuon_eta", "truthMuon_phi", "truthMuon_q",
    ]  # fmt: skip
    assert len(set(HIT_FEATURES)) == 20
    assert metadata["generator"] == {"version": 1, "seed": 7}
    mapping = metadata["event_mapping"]
    assert mapping["total_events"] == 50
    assert mapping["total_chunks"] == 2
    assert [c["h5_file"] for c in mapping["chunk_summary"]] == ["data/events_0000.h5", "data/events_0001.h5"]
    assert [c["event_count"] for c in mapping["chunk_summary"]] == [30, 20]
    file_index, row_index = (np.load(folder / mapping["index_files"][k]) for k in ("file_indices", "row_indices"))
    assert file_index.dtype == row_index.dtype == np.int32
    np.testing.assert_array_equal(file_index, np.repeat([0, 1], [30, 20]))
    np.testing.assert_array_equal(row_index, [*range(30), *range(20)])


def test_content(tmp_path, parts):
    write(tmp_path / "set", parts)
    number = 0
    for i, part in enumerate(parts):
        with h5py.File(tmp_path / "set" / f"data/events_{i:04d}.h5") as file:
            assert [n.decode() for n in file.attrs["hit_features"]] == list(HIT_FEATURES)
            assert [n.decode() for n in file.attrs["track_features"]] == list(TRACK_FEATURES)
            assert {k: file[k].dtype for k in file} == {
                "hits": np.float32, "tracks": np.float32, "num_hits": np.int32, "num_tracks": np.int16,
                "event_numbers": np.int64, "hits_crc32": np.uint32, "tracks_crc32": np.uint32,
            }  # fmt: skip
            count, longest = part.num_hits.size, part.num_hits.max()
            assert file["hits"].shape == (count, longest, 20)
            assert file["hits"].chunks == (1, longest, 20)
            assert file["tracks"].shape == (count, part.num_tracks.max(), 4)
            assert file["hits"].compression is None
            np.testing.assert_array_equal(file["num_hits"][:], part.num_hits)
            np.testing.assert_array_equal(file["num_tracks"][:], part.num_tracks)
            np.testing.assert_array_equal(file["event_numbers"][:], number + np.arange(count))
            number += count
            for name, values, counts in (
                ("hits", part.hits, part.num_hits), ("tracks", part.tracks, part.num_tracks),
            ):  # fmt: skip
                valid = np.arange(file[name].shape[1]) < counts[:, None]
                np.testing.assert_array_equal(file[name][:][valid], values)
                assert np.isnan(file[name][:][~valid]).all()


def test_an_error_leaves_nothing(tmp_path, parts):
    def interrupted():
        yield parts[0]
        assert not (tmp_path / "set").exists()
        assert [path.name for path in tmp_path.rglob("*.h5")] == ["events_0000.h5"]
        assert not list(tmp_path.rglob("metadata.yaml"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "set", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(tmp_path, parts):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "precious").write_text("1")
    with pytest.raises(FileExistsError, match=r"output folder .*set exists already"):
        write(tmp_path / "set", parts)
    assert [p.name for p in tmp_path.rglob("*")] == ["set", "precious"]


def test_a_folder_that_appears_meanwhile_is_not_touched(tmp_path, parts):
    def overtaken():
        yield parts[0]
        (tmp_path / "set").mkdir()

    with pytest.raises(FileExistsError):
        write(tmp_path / "set", overtaken())
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert list((tmp_path / "set").iterdir()) == []
