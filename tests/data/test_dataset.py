import math
import multiprocessing
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.data import EventDataset
from hitpool.data.packing import Packed, collate

from .data_sets import (
    HIT_COLUMNS,
    HIT_COLUMNS_23,
    INPUTS_23,
    TRACK_COLUMNS,
    Events,
    make_events,
    write_dataset,
)

TARGETS = {"particle": [*TRACK_COLUMNS, "truthMuon_qpt"]}
LAYOUTS = ["tracking", "filtering"]


def expected_field(events: Events, event: int, hit: int, name: str) -> float:
    """One input value by its definition, in float64."""
    if name.startswith("spacePoint_"):
        return float(events.column(event, name)[hit])
    x, y, z = (float(events.column(event, f"spacePoint_globEdgeLow{axis}")[hit]) for axis in "XYZ")
    s = math.sqrt(x * x + y * y + z * z)
    theta = math.acos(z / s)
    return {
        "r": math.sqrt(x * x + y * y),
        "s": s,
        "theta": theta,
        "phi": math.atan2(y, x),
        "eta": -math.log(math.tan(theta / 2)),
    }[name]


def check_batch(batch, events: Events, members: list[int], fields: list[str], slots: int = 2) -> None:
    """Compares a batch, entry by entry, with the events it was written from."""
    inputs, targets = batch
    most = max((len(events.hits[i]) for i in members), default=0)
    assert set(inputs) == {f"hit_{name}" for name in fields} | {"hit_valid"}
    assert targets["sample_id"].tolist() == members
    assert targets["sample_id"].dtype == torch.int64
    values = np.stack([inputs[f"hit_{name}"].numpy() for name in fields], axis=-1)
    expected = np.zeros((len(members), most, len(fields)))
    valid = np.zeros((len(members), most), bool)
    on_particle = np.zeros_like(valid)
    masks = np.zeros((len(members), slots, most), bool)
    particle = np.zeros((len(members), slots), bool)
    tracks = np.full((len(members), slots, 5), np.nan)
    for b, event in enumerate(members):
        for hit in range(len(events.hits[event])):
            expected[b, hit] = [expected_field(events, event, hit, name) for name in fields]
            valid[b, hit] = True
            link = int(events.column(event, "spacePoint_truthLink")[hit])
            if link >= 0:
                masks[b, link, hit] = on_particle[b, hit] = True
        for slot, (pt, eta, phi, q) in enumerate(events.tracks[event]):
            particle[b, slot] = True
            tracks[b, slot] = pt, eta, phi, q, q / pt
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    assert np.all(values[~valid] == 0.0)
    for name, want in {
        "hit_valid": valid,
        "hit_on_valid_particle": on_particle,
        "particle_hit_valid": masks,
        "particle_valid": particle,
    }.items():
        assert targets[name].dtype == torch.bool
        np.testing.assert_array_equal(targets[name].numpy(), want, err_msg=name)
    assert torch.equal(inputs["hit_valid"], targets["hit_valid"])
    for i, name in enumerate(TARGETS["particle"]):
        assert targets[f"particle_{name}"].dtype == torch.float32
        np.testing.assert_allclose(targets[f"particle_{name}"].numpy(), tracks[..., i], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batches_hold_what_was_written(layout, request, events):
    directory = request.getfixturevalue(f"{layout}_set")
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS)
    assert len(dataset) == 60
    for members in ([5, 3, 59, 0, 17, 3], [1], list(range(60))):
        check_batch(dataset.__getitems__(members), events, members, INPUTS_23)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_23_columns_on_disk(tmp_path, layout):
    events = make_events(12, HIT_COLUMNS_23, seed=4)
    dataset = EventDataset(write_dataset(tmp_path / "set", events, layout), {"hit": INPUTS_23}, TARGETS)
    check_batch(dataset.__getitems__([7, 11, 2]), events, [7, 11, 2], INPUTS_23)


@pytest.mark.parametrize(
    "storage",
    [
        {"chunks": (1, 43, 20)},
        {"chunks": (7, 43, 20)},  # the last chunk is not full
        {"chunks": (7, 10, 20)},
        {"chunks": (5, 43, 3)},
        {},  # contiguous
        {"compression": "lzf"},
        {"chunks": (4, 43, 20), "shuffle": True},
        {"chunks": (1, 64, 20), "maxshape": (None, None, 20)},  # chunks wider than the array
        {"chunks": True, "fletcher32": True},
        {"dtype": ">f4"},
        {"dtype": "<f8"},
        {"dtype": "<f8", "compression": "gzip"},
    ],
    ids=str,
)
def test_any_storage_of_the_hits(tmp_path, storage, events, tracking_set):
    directory = write_dataset(tmp_path / "set", events)
    with h5py.File(directory / "data/filtered_events.h5", "r+") as file:
        hits = file["hits"][:]
        assert hits.shape[1:] == (43, 20)
        del file["hits"]
        file.create_dataset("hits", **{"data": hits} | storage)
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS)
    members = [30, 8, 59, 0, 58]
    reference = EventDataset(tracking_set, {"hit": INPUTS_23}, TARGETS).__getitems__(members)
    check_batch(dataset.__getitems__(members), events, members, INPUTS_23)
    for got, want in zip(dataset.__getitems__(members), reference, strict=True):
        assert all(torch.equal(got[name].nan_to_num(9), want[name].nan_to_num(9)) for name in want)


def test_user_block_and_unwritten_chunks(tmp_path, events):
    directory = write_dataset(tmp_path / "set", events)
    path = directory / "data/filtered_events.h5"
    with h5py.File(path) as file:
        content = {name: file[name][:] for name in file}
    content["num_hits"][:2] = 0
    with h5py.File(path, "w", userblock_size=1024) as file:
        hits = file.create_dataset("hits", content["hits"].shape, np.float32, chunks=(1, *content["hits"].shape[1:]))
        hits[2:] = content.pop("hits")[2:]
        for name, values in content.items():
            file[name] = values
    emptied = Events([np.empty((0, 20)) if i >= 58 else h for i, h in enumerate(events.hits)], events.tracks)
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS)
    check_batch(dataset.__getitems__([59, 57, 58, 20]), emptied, [59, 57, 58, 20], INPUTS_23)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, ">i2"])
def test_any_integer_type(tmp_path, kind, events):
    directory = write_dataset(tmp_path / "set", events)
    with h5py.File(directory / "data/filtered_events.h5", "r+") as file:
        for name in ("num_hits", "num_tracks"):
            values = file[name][:].astype(kind)
            del file[name]
            file[name] = values
    for name in ("event_file_indices.npy", "event_row_indices.npy"):
        np.save(directory / name, np.load(directory / name).astype(kind))
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS)
    check_batch(dataset.__getitems__([9, 40]), events, [9, 40], INPUTS_23)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_hits_at_all(layout, request, events):
    dataset = EventDataset(request.getfixturevalue(f"{layout}_set"), {"hit": INPUTS_23}, TARGETS)
    inputs, targets = dataset.__getitems__([0, 0])
    assert inputs["hit_eta"].shape == (2, 0)
    assert targets["particle_hit_valid"].shape == (2, 2, 0)
    check_batch((inputs, targets), events, [0, 0], INPUTS_23)


def test_events_without_hits_only(tmp_path):
    events = make_events(1)
    dataset = EventDataset(write_dataset(tmp_path / "set", events, "filtering"), {"hit": INPUTS_23}, TARGETS)
    check_batch(dataset[0], events, [0], INPUTS_23)


def test_track_without_hits_stays_valid(tmp_path):
    events = make_events(3)
    events.hits[2][:, HIT_COLUMNS.index("spacePoint_truthLink")] = 1.0  # all hits belong to the second track
    events.tracks[2] = np.array([[10, 0.5, 1.0, 1], [20, 1.5, -1.0, -1]], np.float32)
    dataset = EventDataset(write_dataset(tmp_path / "set", events), {"hit": ["r"]}, TARGETS)
    _, targets = dataset[2]
    assert targets["particle_valid"].tolist() == [[True, True]]
    assert not targets["particle_hit_valid"][0, 0].any()
    assert targets["particle_hit_valid"][0, 1].all()


def test_more_slots_than_tracks_on_disk(events, tracking_set):
    dataset = EventDataset(tracking_set, {"hit": ["s", "phi"]}, TARGETS, max_particles=5)
    check_batch(dataset.__getitems__([5, 6]), events, [5, 6], ["s", "phi"], slots=5)


def test_names_are_free(tmp_path):
    events = make_events(6)
    events.columns = [f"c{i}" for i in range(19)] + ["owner"]
    dataset = EventDataset(
        write_dataset(tmp_path / "set", events),
        {"cluster": ["c7", "at_r"]},
        {"cosmic": ["truthMuon_eta"]},
        scale_factors={"c7": 0.5},
        points={"at_": [["c1", "c2", "c3"]]},
        truth_link="owner",
    )
    inputs, targets = dataset[5]
    assert set(inputs) == {"cluster_c7", "cluster_at_r", "cluster_valid"}
    particle_names = {"cosmic_valid", "cosmic_cluster_valid", "cosmic_truthMuon_eta"}
    assert set(targets) == particle_names | {"cluster_valid", "cluster_on_valid_cosmic", "sample_id"}
    hits = events.hits[5]
    np.testing.assert_allclose(inputs["cluster_c7"][0].numpy(), hits[:, 7] * 0.5, rtol=1e-6)
    np.testing.assert_allclose(inputs["cluster_at_r"][0].numpy(), np.hypot(hits[:, 1], hits[:, 2]), rtol=1e-6)


@pytest.mark.parametrize("given", ["owner", None])
def test_the_truth_link_is_that_of_the_data_set_unless_another_is_given(tmp_path, given):
    events = make_events(6)
    events.columns = [*HIT_COLUMNS[:-2], "owner", "other"]
    for hits in events.hits:
        hits[:, -2:] = [-1, 0] if given else [0, -1]
    directory = write_dataset(tmp_path / "set", events)
    path = directory / "metadata.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"truth_link": "other" if given else "owner"}))
    dataset = EventDataset(directory, {"hit": ["r"]}, TARGETS, truth_link=given)
    assert dataset[5][1]["hit_on_valid_particle"].all() == (given is None)


def test_a_single_index_gives_a_batch_of_one(events, tracking_set):
    dataset = EventDataset(tracking_set, {"hit": INPUTS_23}, TARGETS)
    check_batch(dataset[31], events, [31], INPUTS_23)
    check_batch(dataset[np.int64(31)], events, [31], INPUTS_23)
    with pytest.raises(IndexError):
        dataset[60]
    check_batch(dataset[[31, 4]], events, [31, 4], INPUTS_23)


def test_subset_is_random_and_reproducible(events, tracking_set):
    def chosen(**arguments):
        return EventDataset(tracking_set, {"hit": ["r"]}, TARGETS, **arguments).sample_id.tolist()

    first = chosen(num_events=20, seed=1)
    assert len(set(first)) == 20
    assert first == chosen(num_events=20, seed=1)
    assert first != chosen(num_events=20, seed=2)
    assert max(first) > 40
    assert chosen(num_events=60) == chosen() == list(range(60))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batches_of_a_subset(layout, request, events):
    dataset = EventDataset(request.getfixturevalue(f"{layout}_set"), {"hit": INPUTS_23}, TARGETS, num_events=25, seed=3)
    members = dataset.sample_id[[4, 24, 0]].tolist()
    check_batch(dataset.__getitems__([4, 24, 0]), events, members, INPUTS_23)


def test_particle_values(events, filtering_set):
    dataset = EventDataset(filtering_set, {"hit": ["r"]}, TARGETS, num_events=30, seed=5)
    tracks = np.concatenate([events.tracks[i] for i in dataset.sample_id])
    values = dataset.particle_values()
    assert list(values) == TARGETS["particle"]
    for i, name in enumerate(TRACK_COLUMNS):
        np.testing.assert_array_equal(values[name].numpy(), tracks[:, i])
    np.testing.assert_allclose(values["truthMuon_qpt"].numpy(), tracks[:, 3] / tracks[:, 0], rtol=1e-6)
    assert values["truthMuon_qpt"].dtype == torch.float32


@pytest.mark.parametrize(("method", "layout"), [("fork", "tracking"), ("fork", "filtering"), ("spawn", "filtering")])
def test_other_processes_can_read(method, layout, request, events):
    dataset = EventDataset(request.getfixturevalue(f"{layout}_set"), {"hit": INPUTS_23}, TARGETS)
    members = [12, 44, 3]
    dataset.__getitems__([1, 2])  # files are open by now
    loader = torch.utils.data.DataLoader(
        dataset,
        sampler=[members, [5]],
        batch_size=None,
        collate_fn=collate,
        num_workers=1,
        multiprocessing_context=multiprocessing.get_context(method),
    )
    first, second = loader
    check_batch(first, events, members, INPUTS_23)
    check_batch(second, events, [5], INPUTS_23)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pickle(layout, request, events):
    dataset = EventDataset(request.getfixturevalue(f"{layout}_set"), {"hit": INPUTS_23}, TARGETS)
    copy = pickle.loads(pickle.dumps(dataset))
    del dataset
    check_batch(copy.__getitems__([12, 44]), events, [12, 44], INPUTS_23)


def test_many_files_need_few_file_handles(tmp_path, monkeypatch):
    monkeypatch.setattr("hitpool.data.hit_store._MOST_OPEN_FILES", 2)
    events = make_events(12)
    dataset = EventDataset(write_dataset(tmp_path / "set", events, num_files=6), {"hit": INPUTS_23}, TARGETS)
    members = [*range(12), 3, 0, 7]
    check_batch(dataset.__getitems__(members), events, members, INPUTS_23)
    assert len(dataset._store._open_files) == 2


def test_slabs_smaller_than_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("hitpool.files.event_file.SLAB_BYTES", 1)
    events = make_events(40)
    directory = write_dataset(tmp_path / "set", events, "filtering", num_files=2)
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS, num_events=30)
    check_batch(dataset.__getitems__(range(30)), events, dataset.sample_id.tolist(), INPUTS_23)


def test_uncompressed_hits_are_not_copied(tracking_set, filtering_set):
    for directory, unpacked in ((tracking_set, False), (filtering_set, True)):
        dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS)
        dataset.__getitems__(range(60))
        assert (dataset._store._unpacked is not None) == unpacked


def test_files_are_unpacked_once_for_all_processes_and_runs(tmp_path, events, filtering_set):
    directory = shutil.copytree(filtering_set, tmp_path / "set")
    folder = tmp_path / "unpacked"
    context = multiprocessing.get_context("fork")
    readers = [context.Process(target=open_unpacked, args=(directory, folder)) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
        assert reader.exitcode == 0
    files = {path: path.stat().st_ino for path in folder.glob("*.hits")}
    assert len(files) == 3
    assert sum(path.stat().st_size for path in files) == 80 * sum(map(len, events.hits)) + 4 * len(events.hits)

    members = [12, 44, 3, 0, 59]
    dataset = open_unpacked(directory, folder)
    check_batch(dataset.__getitems__(members), events, members, INPUTS_23)
    subset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS, num_events=25, seed=3, unpack_dir=folder)
    check_batch(subset.__getitems__([4, 24]), events, subset.sample_id[[4, 24]].tolist(), INPUTS_23)
    assert {path: path.stat().st_ino for path in folder.glob("*.hits")} == files
    assert not list(folder.glob("*.part"))

    changed = directory / "data/events_001.h5"
    with h5py.File(changed, "r+") as file:
        file["hits"][:, :, HIT_COLUMNS.index("spacePoint_driftR")] = 7.0
    os.utime(changed, ns=(0, 0))  # whatever the resolution of the clock
    inputs, _ = open_unpacked(directory, folder)[1]  # event 1 lies in file 1 and has one hit
    assert inputs["hit_spacePoint_driftR"].tolist() == [[7.0]]
    assert len(list(folder.glob("*.hits"))) == 4


def open_unpacked(directory, folder) -> EventDataset:
    return EventDataset(directory, {"hit": INPUTS_23}, TARGETS, unpack_dir=folder)


def test_a_file_that_was_being_unpacked_is_unpacked_again(tmp_path, events, filtering_set):
    folder = tmp_path / "unpacked"
    open_unpacked(filtering_set, folder)
    for path in folder.glob("*.hits"):
        path.with_suffix(".part").write_bytes(path.read_bytes()[:100])
        path.unlink()
    check_batch(open_unpacked(filtering_set, folder)[7], events, [7], INPUTS_23)


def test_the_lock_of_a_process_that_was_killed_after_unpacking_is_removed(tmp_path, filtering_set):
    folder = tmp_path / "unpacked"
    open_unpacked(filtering_set, folder)
    files = set(folder.iterdir())
    for path in files:
        path.with_name(f".{path.name}.lock").touch()
    open_unpacked(filtering_set, folder)
    assert set(folder.iterdir()) == files


@pytest.mark.parametrize("members", [[12, 44, 3], [0, 0]])
def test_a_batch_travels_as_one_tensor(members, tracking_set):
    batch = EventDataset(tracking_set, {"hit": INPUTS_23}, TARGETS).__getitems__(members)
    assert collate(batch) is batch  # in the main process
    _, (packed, *_) = Packed(batch).__reduce__()
    assert packed.nbytes == sum(tensor.nbytes for part in batch for tensor in part.values())
    for part, copy in zip(batch, pickle.loads(pickle.dumps(Packed(batch))), strict=True):
        assert part.keys() == copy.keys()
        for name, tensor in part.items():
            assert tensor.dtype == copy[name].dtype
            torch.testing.assert_close(tensor, copy[name], rtol=0, atol=0, equal_nan=True)
