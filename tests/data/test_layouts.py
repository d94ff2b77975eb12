"""Every layout that the preparation steps of the ATLAS muon studies write is read by the names of its columns."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.data import EventDataset, HitDataModule

from .data_sets import HIT_COLUMNS, HIT_COLUMNS_23, TRACK_COLUMNS, make_events

GZIP = {"compression": "gzip", "compression_opts": 6}
NUMBER, FILES = 24, 3


def write_filtering(folder: Path, events, place: str, full_metadata: bool, attributes: bool) -> None:
    """One file for each source file; everything compressed, automatic chunks, int64 indices."""
    chunks, file_indices, row_indices = [], [], []
    for number in range(FILES):
        members = range(number * NUMBER // FILES, (number + 1) * NUMBER // FILES)
        name = f"{place}events_chunk_{number:04d}_w0.h5"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / name, "w") as file:
            hits, tracks = padded(events, members)
            strong = GZIP | {"shuffle": True, "fletcher32": True}
            file.create_dataset("hits", data=hits, chunks=True, **strong)
            file.create_dataset("tracks", data=tracks, chunks=True, **strong)
            file.create_dataset("num_hits", data=[len(events.hits[i]) for i in members], dtype="i2", **GZIP)
            file.create_dataset("num_tracks", data=[len(events.tracks[i]) for i in members], dtype="i2", **GZIP)
            file.create_dataset("event_numbers", data=[1000 + i for i in members], dtype="i4", **GZIP)
            if attributes:
                file.attrs["num_events"] = file.attrs["valid_events_count"] = len(members)
                file.attrs["source_root_file"] = f"source_{number}.root"
                file.attrs["worker_id"] = 0
        chunk = {"h5_file": name, "source_root_file": f"source_{number}.root", "event_count": len(members)}
        chunks.append(chunk | {"worker_id": 0})
        file_indices += [number] * len(members)
        row_indices += range(len(members))
    np.save(folder / "event_file_indices.npy", file_indices)  # a list of int: int64
    np.save(folder / "event_row_indices.npy", row_indices)
    extra = {"processing_summary": {"events": NUMBER}, "processing_parameters": {"pt": 5.0}, "processed_files": ["a"]}
    write_metadata(folder, events, chunks, extra if full_metadata else None)


def write_tracking(
    folder: Path, events, place: str, full_metadata: bool, attributes: bool, file_index_type: str = "i4"
) -> None:
    """A single file, nothing compressed, one event per chunk, int32 (or int16) indices."""
    name = f"{place}filtered_events.h5"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        hits, tracks = padded(events, range(NUMBER))
        file.create_dataset("hits", data=hits, chunks=(1, *hits.shape[1:]))
        file.create_dataset("tracks", data=tracks, chunks=(1, *tracks.shape[1:]))
        file.create_dataset("num_hits", data=[len(h) for h in events.hits], dtype="i2")
        file.create_dataset("num_tracks", data=[len(t) for t in events.tracks], dtype="i2")
        file.create_dataset("event_numbers", data=np.arange(NUMBER), dtype="i8")
        if attributes:
            file.attrs["hit_features"] = [column.encode() for column in events.columns]
            file.attrs["track_features"] = [column.encode() for column in TRACK_COLUMNS]
    np.save(folder / "event_file_indices.npy", np.zeros(NUMBER, file_index_type))
    np.save(folder / "event_row_indices.npy", np.arange(NUMBER, dtype="i4"))
    chunk = {"h5_file": name, "source_dataset": "raw", "event_count": NUMBER, "worker_id": "merged"}
    extra = {"filtering_summary": {}, "filtering_parameters": {"max_hits": 600}, "original_dataset_info": {"n": 3}}
    write_metadata(folder, events, [chunk], extra if full_metadata else None)


def write_metadata(folder: Path, events, chunks: list[dict], extra: dict | None) -> None:
    if extra is None:  # only what is needed
        mapping = {"chunk_summary": [{"h5_file": chunk["h5_file"]} for chunk in chunks]}
    else:
        names = {"file_indices": "event_file_indices.npy", "row_indices": "event_row_indices.npy"}
        mapping = {"description": "where events are", "total_events": NUMBER, "total_chunks": len(chunks)}
        mapping |= {"index_files": names, "chunk_summary": chunks}
    metadata = {"hit_features": events.columns, "track_features": TRACK_COLUMNS, "event_mapping": mapping}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata | (extra or {})))


def padded(events, members) -> tuple[np.ndarray, np.ndarray]:
    hits = np.full((len(members), max(len(events.hits[i]) for i in members), len(events.columns)), np.nan, "f4")
    tracks = np.full((len(members), max(len(events.tracks[i]) for i in members), 4), np.nan, "f4")
    for row, i in enumerate(members):
        hits[row, : len(events.hits[i])] = events.hits[i]
        tracks[row, : len(events.tracks[i])] = events.tracks[i]
    return hits, tracks


WRITERS = {
    "filtering": write_filtering,
    "tracking": write_tracking,
    "tracking, int16": lambda *arguments: write_tracking(*arguments, file_index_type="i2"),
}


@pytest.mark.parametrize("columns", [HIT_COLUMNS, HIT_COLUMNS_23], ids=["20 columns", "23 columns"])
@pytest.mark.parametrize("attributes", [True, False], ids=["attributes", "no attributes"])
@pytest.mark.parametrize("full_metadata", [True, False], ids=["full", "needed keys"])
@pytest.mark.parametrize("place", ["data/", "", "somewhere/else/"])
@pytest.mark.parametrize("layout", WRITERS)
def test_columns_are_mapped_by_name(tmp_path, layout, place, full_metadata, attributes, columns):
    events = make_events(NUMBER, columns, seed=3)
    link = columns.index("spacePoint_truthLink")
    events.hits[5][:, link] = 0.0  # a second track, without hits
    events.tracks[5] = np.array([[10, 1.5, 0.5, 1], [20, -1.5, -0.5, -1]], np.float32)
    WRITERS[layout](tmp_path, events, place, full_metadata, attributes)
    fields = ["spacePoint_technology", "spacePoint_driftR", "spacePoint_globEdgeLowZ", "spacePoint_layer"]
    dataset = EventDataset(
        tmp_path, {"hit": fields}, {"particle": TRACK_COLUMNS[::-1]}, scale_factors={"spacePoint_globEdgeLowZ": 1e-3}
    )
    members = np.random.default_rng(1).permutation(NUMBER)
    inputs, targets = dataset.__getitems__(members)
    for b, event in enumerate(members):
        hits, tracks = events.hits[event], events.tracks[event]
        assert inputs["hit_valid"][b].sum() == len(hits)
        for field in fields:
            expected = hits[:, columns.index(field)] * (1e-3 if field.endswith("LowZ") else 1)
            got = inputs[f"hit_{field}"][b, : len(hits)].numpy()
            np.testing.assert_allclose(got, expected, rtol=1e-6)
        for i, name in enumerate(TRACK_COLUMNS):
            np.testing.assert_array_equal(targets[f"particle_{name}"][b, : len(tracks)].numpy(), tracks[:, i])
        for slot in range(2):
            mask = targets["particle_hit_valid"][b, slot, : len(hits)].numpy()
            np.testing.assert_array_equal(mask, hits[:, link] == slot)
        assert targets["particle_valid"][b].sum() == len(tracks)
    assert torch.isfinite(inputs["hit_spacePoint_driftR"]).all()  # no NaN of the padding


def test_track_columns_that_are_no_targets_may_be_nan(tmp_path):
    events = make_events(NUMBER)
    for tracks in events.tracks:
        tracks[:, 1] = np.nan
    write_tracking(tmp_path, events, "data/", True, True)
    targets = ["truthMuon_pt", "truthMuon_qpt"]
    assert len(EventDataset(tmp_path, {"hit": ["r"]}, {"particle": targets})) == NUMBER
    with pytest.raises(ValueError, match=r"target 'truthMuon_eta' of track 0 is nan, expected a finite number"):
        EventDataset(tmp_path, {"hit": ["r"]}, {"particle": [*targets, "truthMuon_eta"]})


def test_events_ordered_by_process_are_shuffled(tmp_path):
    """The process (here: the event's number) must not be visible in the order of batches nor in a subset."""
    number = 4000
    events = make_events(NUMBER, seed=2)
    write_tracking(tmp_path, events, "data/", True, True)
    for name in ("event_file_indices.npy", "event_row_indices.npy"):
        np.save(tmp_path / name, np.tile(np.load(tmp_path / name), number // NUMBER + 1)[:number])
    for split, chosen in (("train", number), ("train", 400), ("val", 400), ("test", 400)):
        amount = {f"num_{split}": chosen} if chosen < number else {}
        folders = {"inputs": {"hit": ["r"]}, "targets": {"particle": ["truthMuon_pt"]}, f"{split}_dir": tmp_path}
        data = HitDataModule(**folders, **amount, batch_size=40)
        order = np.concatenate([targets["sample_id"] for _, targets in getattr(data, f"{split}_dataloader")()])
        assert sorted(order) == data.dataset(split).sample_id.tolist()
        assert len(set(order)) == chosen
        first = order[: chosen // 4]  # of uniform numbers: mean 0.5, sd of the mean 0.29 / sqrt(n)
        assert abs(first.mean() / number - 0.5) < 5 * 0.29 / np.sqrt(len(first))
        assert abs(order.mean() / number - 0.5) < 5 * 0.29 / np.sqrt(chosen)


@pytest.mark.parametrize("layout", ["filtering", "tracking"])
def test_int16_overflow_of_the_hit_count_is_named(tmp_path, layout):
    events = make_events(NUMBER)
    WRITERS[layout](tmp_path, events, "data/", True, True)
    path = min((tmp_path / "data").glob("*.h5"))
    with h5py.File(path, "r+") as file:
        file["num_hits"][4] = np.int32(40_000).astype(np.int16)
    with pytest.raises(ValueError, match=r"event 4 .*'num_hits' is -25536, expected 0 to \d+.*overflow of int16"):
        EventDataset(tmp_path, {"hit": ["r"]}, {"particle": ["truthMuon_pt"]})
