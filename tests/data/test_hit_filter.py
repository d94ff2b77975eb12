"""Hits that a filter drops are as if they had never been in the files."""

import multiprocessing
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitpool.data import EventDataset, HitDataModule
from hitpool.data.doubts import doubts
from hitpool.data.hit_filter import HitFilter
from hitpool.data.packing import collate

from .data_sets import HIT_COLUMNS, INPUTS_23, TRACK_COLUMNS, Events, make_events, write_dataset
from .test_dataset import TARGETS, check_batch

FIELDS = {"inputs": {"hit": INPUTS_23}, "targets": {"particle": TRACK_COLUMNS}}
GROUP = "preds/final/hit_filter"
BOOL, PROB = "hit_on_valid_particle", "hit_on_valid_particle_prob"
TRUTH = HIT_COLUMNS.index("spacePoint_truthLink")
NUMBER = 60


def write_results(path: Path, results: Mapping[int, Mapping[str, np.ndarray]]) -> Path:
    """Results by event and name, in an order that is not that of the events."""
    with h5py.File(path, "w") as file:
        for event in sorted(results, key=lambda number: number * 7 % 60):
            for name, values in results[event].items():
                file[f"{event}/{GROUP}/{name}"] = values
    return path


def probabilities(events: Events, seed: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.random(len(hits)).astype(np.float32) for hits in events.hits]


def without(events: Events, dropped: list[np.ndarray]) -> Events:
    return replace(events, hits=[hits[~own] for hits, own in zip(events.hits, dropped, strict=True)])


@pytest.fixture(scope="session")
def filtered(tmp_path_factory: pytest.TempPathFactory, events: Events) -> tuple[Path, Events]:
    """A file of probabilities, and the events with the hits that are at least 0.5 probable."""
    values = probabilities(events)
    path = write_results(
        tmp_path_factory.mktemp("filter") / "eval.h5", {i: {PROB: own[None]} for i, own in enumerate(values)}
    )
    return path, without(events, [own < 0.5 for own in values])


@pytest.mark.parametrize("layout", ["tracking", "filtering"])
def test_batches_are_those_of_the_hits_that_remain(layout, request, events, filtered):
    path, remaining = filtered
    directory = request.getfixturevalue(f"{layout}_set")
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS, hit_eval=path, hit_filter_threshold=0.5)
    for members in ([5, 3, 59, 0, 17, 3], [1], list(range(NUMBER))):
        check_batch(dataset.__getitems__(members), remaining, members, INPUTS_23)
    assert dataset.num_hits.tolist() == [len(hits) for hits in remaining.hits]
    assert dataset.num_hits_on_disk.tolist() == [len(hits) for hits in events.hits]
    dataset.check_hits()


@pytest.mark.parametrize("layout", ["tracking", "filtering"])
def test_subsets_find_their_events(layout, request, filtered):
    path, remaining = filtered
    directory = request.getfixturevalue(f"{layout}_set")
    options = {"num_events": 23, "seed": 4, "hit_eval": path, "hit_filter_threshold": 0.5}
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS, **options)
    chosen = dataset.sample_id.tolist()
    assert chosen != list(range(23))
    check_batch(dataset.__getitems__([22, 0, 7]), remaining, [chosen[i] for i in (22, 0, 7)], INPUTS_23)
    with h5py.File(path) as file:  # the others need not be there
        only = {event: {PROB: file[f"{event}/{GROUP}/{PROB}"][:]} for event in chosen}
    few = write_results(path.with_name(f"few-{layout}.h5"), only)
    again = EventDataset(directory, {"hit": INPUTS_23}, TARGETS, **options | {"hit_eval": few})
    assert again.num_hits.tolist() == dataset.num_hits.tolist()


def test_particles_without_hits_stay(tmp_path, tracking_set, events):
    dropped = [np.isin(hits[:, TRUTH], [0]) for hits in events.hits]
    path = write_results(tmp_path / "eval.h5", {i: {BOOL: ~own[None]} for i, own in enumerate(dropped)})
    dataset = EventDataset(tracking_set, {"hit": INPUTS_23}, TARGETS, hit_eval=path)
    members = list(range(NUMBER))
    batch = dataset.__getitems__(members)
    check_batch(batch, without(events, dropped), members, INPUTS_23)
    targets = batch[1]
    assert targets["particle_valid"][1:, 0].all()
    assert not targets["particle_hit_valid"][:, 0].any()
    assert targets["particle_hit_valid"][:, 1].any()
    assert targets["particle_truthMuon_pt"][1:, 0].isfinite().all()


def test_an_event_may_lose_all_hits(tmp_path, tracking_set, events):
    nothing = [np.ones(len(hits), bool) for hits in events.hits]
    path = write_results(tmp_path / "eval.h5", {i: {BOOL: ~own[None]} for i, own in enumerate(nothing)})
    dataset = EventDataset(tracking_set, {"hit": INPUTS_23}, TARGETS, hit_eval=path)
    check_batch(dataset.__getitems__([9, 4]), without(events, nothing), [9, 4], INPUTS_23)
    message = "the hit filter (data.hit_eval_train) keeps no hit of any training event"
    assert message in doubts(dataset)
    assert message not in doubts(EventDataset(tracking_set, {"hit": INPUTS_23}, TARGETS))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize(("threshold", "cut"), [(None, 0.1), (0.0, 0.0), (0.7, 0.7), (1.0, 1.0), (1, 1.0)])
def test_a_probability_equal_to_the_threshold_is_kept(tmp_path, dtype, threshold, cut):
    least = np.asarray(cut, dtype)
    values = np.array([0.0, max(np.nextafter(least, least.dtype.type(-1)), 0), least, 1.0], dtype)
    path = write_results(tmp_path / "eval.h5", {0: {PROB: values[None]}})
    kept = HitFilter(path, np.array([0]), np.array([4]), str, threshold).kept(np.array([0]))
    assert kept.tolist() == [cut == 0, cut == 0, True, True]


def test_the_probability_comes_before_the_decision(tmp_path):
    decided, probable = np.array([[True, True, False]]), np.array([[0.05, 0.5, 0.2]])
    path = write_results(tmp_path / "eval.h5", {0: {BOOL: decided, PROB: probable}, 1: {BOOL: decided}})
    kept = HitFilter(path, np.array([0, 1]), np.array([3, 3]), str)
    assert kept.kept(np.array([0])).tolist() == [False, True, True]
    assert kept.kept(np.array([1])).tolist() == [True, True, False]


@pytest.mark.parametrize("name", [BOOL, PROB])
def test_padding_is_not_looked_at(tmp_path, tracking_set, events, filtered, name):
    """As hepattn writes batches of several events: all rows have the width of the longest."""
    _, remaining = filtered
    width, results = max(map(len, events.hits)), {}
    for event, own in enumerate(probabilities(events)):
        row = np.full((1, width), True if name == BOOL else np.nan)
        row[0, : len(own)] = own >= 0.5 if name == BOOL else own
        results[event] = {name: row.astype(bool if name == BOOL else np.float32)}
    path = write_results(tmp_path / "eval.h5", results)
    threshold = None if name == BOOL else 0.5
    dataset = EventDataset(
        tracking_set, {"hit": INPUTS_23}, TARGETS, hit_eval=path, hit_filter_threshold=threshold, num_events=-1
    )
    check_batch(dataset.__getitems__([1, 30, 0, 2]), remaining, [1, 30, 0, 2], INPUTS_23)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_masks_and_any_selection(tmp_path_factory, data):
    lengths = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=8))
    masks = [np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool) for n in lengths]
    padding = data.draw(st.integers(0, 9))
    numbers = np.array(data.draw(st.permutations(range(10, 10 + len(lengths)))))
    path = tmp_path_factory.getbasetemp() / "any.h5"
    padded = [np.concatenate([mask, np.ones(padding, bool)])[None] for mask in masks]
    write_results(path, {int(n): {BOOL: own} for n, own in zip(numbers, padded, strict=True)})
    found = HitFilter(path, numbers, np.array(lengths), str)
    wanted = data.draw(st.lists(st.integers(0, len(lengths) - 1)))
    expected = np.concatenate([np.empty(0, bool), *(masks[i] for i in wanted)])
    np.testing.assert_array_equal(found.kept(np.array(wanted, int)), expected)
    assert found.num_hits.tolist() == [mask.sum() for mask in masks]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_need_no_file(method, tmp_path, tracking_set, filtered):
    path, remaining = filtered
    own = shutil.copy(path, tmp_path / "eval.h5")
    options = {"hit_eval": own, "hit_filter_threshold": 0.5}
    dataset = EventDataset(tracking_set, {"hit": INPUTS_23}, TARGETS, **options)
    own.unlink()
    check_batch(pickle.loads(pickle.dumps(dataset))[8], remaining, [8], INPUTS_23)
    context = multiprocessing.get_context(method)
    options = {"batch_size": None, "collate_fn": collate, "num_workers": 1, "multiprocessing_context": context}
    (batch,) = torch.utils.data.DataLoader(dataset, sampler=[[3, 33]], **options)
    check_batch(batch, remaining, [3, 33], INPUTS_23)


def test_hits_that_are_dropped_are_not_checked(tmp_path):
    events = make_events(20)
    events.hits[7] = np.tile(events.hits[7], (3, 1))
    events.hits[7][4] = np.nan
    directory = write_dataset(tmp_path / "set", events)
    dropped = [np.zeros(len(hits), bool) for hits in events.hits]
    dropped[7][[0, 2, 4]] = True
    path = write_results(tmp_path / "eval.h5", {i: {BOOL: ~own[None]} for i, own in enumerate(dropped)})
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS, hit_eval=path)
    dataset.check_hits()
    check_batch(dataset.__getitems__([7, 8]), without(events, dropped), [7, 8], INPUTS_23)

    dropped[7][4] = False
    write_results(path, {i: {BOOL: ~own[None]} for i, own in enumerate(dropped)})
    dataset = EventDataset(directory, {"hit": INPUTS_23}, TARGETS, hit_eval=path)
    with pytest.raises(ValueError, match=r"event 7 .* of hit 4 is nan"):  # its number on disk
        dataset.check_hits()


def good(events: Events) -> dict[int, dict[str, np.ndarray]]:
    return {i: {PROB: own[None]} for i, own in enumerate(probabilities(events))}


def shorter(results: dict) -> None:
    results[7][PROB] = results[7][PROB][:, :-1]


def replaced(values: np.ndarray, name: str = PROB) -> Callable[[dict], None]:
    def change(results: dict) -> None:
        results[7] = {name: values}

    return change


def invalid(value: float) -> Callable[[dict], None]:
    def change(results: dict) -> None:
        results[7][PROB][0, 1] = value

    return change


SIZE = len(make_events(NUMBER).hits[7])
HERE = f"'7/{GROUP}/{PROB}'"
EXPECTED = f"expected floats [1, {SIZE}], one for each hit, or more with padding, got "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shorter, f"{HERE}: {EXPECTED}float32 [1, {SIZE - 1}]"),
        (replaced(np.zeros(SIZE)), f"{HERE}: {EXPECTED}float64 [{SIZE}]"),
        (replaced(np.zeros((2, SIZE))), f"{HERE}: {EXPECTED}float64 [2, {SIZE}]"),
        (replaced(np.zeros((1, SIZE, 1))), f"{HERE}: {EXPECTED}float64 [1, {SIZE}, 1]"),
        (replaced(np.zeros((1, SIZE), int)), f"{HERE}: {EXPECTED}int64 [1, {SIZE}]"),
        (replaced(np.zeros((1, SIZE), bool)), f"{HERE}: {EXPECTED}bool [1, {SIZE}]"),
        (replaced(h5py.Empty("f4")), f"{HERE}: {EXPECTED}float32 []"),
        (
            replaced(np.zeros((1, SIZE), np.uint8), BOOL),
            f"'7/{GROUP}/{BOOL}': expected bool [1, {SIZE}], one for each hit, or more with padding, got uint8",
        ),
        (invalid(np.nan), f"{HERE}: expected probabilities from 0 to 1, got nan for hit 1"),
        (invalid(-0.5), f"{HERE}: expected probabilities from 0 to 1, got -0.5 for hit 1"),
        (invalid(3.5), f"{HERE}: expected probabilities from 0 to 1, got 3.5 for hit 1"),
        (replaced(np.zeros((1, SIZE)), "key_on_valid_particle"), f"expected {HERE} or '.../{BOOL}', got neither"),
    ],
)
def test_errors_name_file_event_and_what_came(tmp_path, tracking_set, events, change, message):
    results = good(events)
    change(results)
    path = write_results(tmp_path / "eval.h5", results)
    row = f"event 7 (file {tracking_set / 'data/filtered_events.h5'}, row {NUMBER - 8})"
    with pytest.raises(ValueError, match=re.escape(f"{path}: {row}: ") + ".*" + re.escape(message)) as error:
        EventDataset(tracking_set, **FIELDS, hit_eval=path)
    assert "\n" not in str(error.value)


def test_a_missing_event_is_named(tmp_path, tracking_set, events):
    results = good(events)
    del results[7], results[33]
    path = write_results(tmp_path / "eval.h5", results)
    message = rf"no group '7' for event 7 \(file .*, row 52\): expected one for each of {NUMBER} events, .* got 58 of"
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        EventDataset(tracking_set, **FIELDS, hit_eval=path)


def test_other_trees_in_the_file_are_named(tmp_path, tracking_set, events):
    path = write_results(tmp_path / "eval.h5", good(events))
    with h5py.File(path, "r+") as file:
        del file["7/preds"]
        file["7/outputs/final/hit_filter/hit_logit"] = np.zeros((1, SIZE))
    with pytest.raises(ValueError, match=rf"{path}: event 7 .*: expected '7/{GROUP}/{PROB}' or .*, got neither"):
        EventDataset(tracking_set, **FIELDS, hit_eval=path)
    with h5py.File(path, "r+") as file:
        del file["7"]
        file["7"] = 1.0
    with pytest.raises(ValueError, match=rf"{path}: event 7 .*: expected '7/{GROUP}/{PROB}' or .*, got neither"):
        EventDataset(tracking_set, **FIELDS, hit_eval=path)


def test_what_is_no_file_of_results(tmp_path, tracking_set, events):
    with pytest.raises(FileNotFoundError, match=rf"^file of filter results {tmp_path}/none.h5 does not exist"):
        EventDataset(tracking_set, **FIELDS, hit_eval=tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("event,probability\n")
    with pytest.raises(ValueError, match=rf"^file of filter results {text} is not readable as HDF5: "):
        EventDataset(tracking_set, **FIELDS, hit_eval=text)
    path = write_results(tmp_path / "eval.h5", good(events))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(ValueError, match=f"{path} is not readable as HDF5"):
        EventDataset(tracking_set, **FIELDS, hit_eval=path)


def test_damaged_values_are_an_error(tmp_path, tracking_set, events):
    path = tmp_path / "eval.h5"
    with h5py.File(path, "w") as file:
        for event, own in enumerate(probabilities(events)):
            compressed = {"compression": "gzip", "fletcher32": True} if len(own) else {}
            file.create_dataset(f"{event}/{GROUP}/{PROB}", data=own[None], **compressed)
        offset = file[f"7/{GROUP}/{PROB}"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 8)
    with pytest.raises(ValueError, match=f"{path}: event 7 .* cannot be read, the file is damaged"):
        EventDataset(tracking_set, **FIELDS, hit_eval=path)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_thresholds_are_probabilities(threshold, tracking_set, filtered):
    message = rf"hit_filter_threshold: expected a number from 0 to 1, got {threshold}"
    with pytest.raises(ValueError, match=message):
        HitDataModule(**FIELDS, hit_filter_threshold=threshold)
    with pytest.raises(ValueError, match=message):
        EventDataset(tracking_set, **FIELDS, hit_eval=filtered[0], hit_filter_threshold=threshold)


def test_decisions_take_no_threshold(tmp_path, tracking_set, events):
    path = write_results(
        tmp_path / "eval.h5", {i: {BOOL: own[None] > 0.5} for i, own in enumerate(probabilities(events))}
    )
    message = r"event 0 .*: expected probabilities .* hit_filter_threshold 0.1 can act, got decisions.*: set it to null"
    with pytest.raises(ValueError, match=message):
        EventDataset(tracking_set, **FIELDS, hit_eval=path, hit_filter_threshold=0.1)


def test_each_part_has_its_own_file(tmp_path):
    sizes, folders, files, remaining = {"train": 40, "val": 21, "test": 22}, {}, {}, {}
    for number, (part, size) in enumerate(sizes.items()):
        events = make_events(size, seed=number)
        values = probabilities(events, seed=number)
        folders[f"{part}_dir"] = write_dataset(tmp_path / part, events)
        path = write_results(tmp_path / f"{part}.h5", {i: {PROB: own[None]} for i, own in enumerate(values)})
        files[f"hit_eval_{part}"] = path
        remaining[part] = without(events, [own < 0.1 for own in values])
    data = HitDataModule(**FIELDS, **folders, **files, batch_size=8, num_workers=2)
    data.setup("fit")
    data.setup("test")
    for part, loader in (
        ("train", data.train_dataloader()),
        ("val", data.val_dataloader()),
        ("test", data.test_dataloader()),
        ("test", data.predict_dataloader()),
        ("train", data.whole_dataloader("train")),
    ):
        counts = [len(hits) for hits in remaining[part].hits]
        assert loader.sampler.lengths.tolist() == counts
        seen = []
        for inputs, targets in loader:
            members = targets["sample_id"].tolist()
            assert inputs["hit_valid"].sum(-1).tolist() == [counts[event] for event in members]
            links = [remaining[part].column(event, "spacePoint_truthLink") for event in members]
            assert targets["particle_hit_valid"].sum((1, 2)).tolist() == [int((own >= 0).sum()) for own in links]
            seen += members
        assert sorted(seen) == list(range(sizes[part]))
    del data  # its workers


def test_an_epoch_goes_on_with_the_same_hits_only(tracking_set, filtered):
    path, _ = filtered

    def data(**options) -> HitDataModule:
        folders = {"train_dir": tracking_set, "val_dir": tracking_set}
        module = HitDataModule(**FIELDS, **folders, batch_size=10, **{"hit_eval_train": path} | options)
        module.setup("fit")
        return module

    def batches(module: HitDataModule) -> list[list[int]]:
        return [targets["sample_id"].tolist() for _, targets in module.train_dataloader()]

    whole, stored = batches(data()), data().state_dict()
    again = data()
    again.load_state_dict(stored)
    again.continue_epoch(0, 2, False)
    assert batches(again) == whole[2:]
    for other in ({"hit_filter_threshold": 0.5}, {"hit_eval_train": None}):
        changed = data(**other)
        changed.load_state_dict(stored)
        changed.continue_epoch(0, 2, False)
        with pytest.raises(ValueError, match="whose other batches need the same number of training hits"):
            changed.train_dataloader()
        changed.continue_epoch(0, 6, True)
        changed.train_dataloader()


def test_other_test_events_bring_their_filter(tmp_path, tracking_set, filtering_set, filtered):
    path, _ = filtered
    data = HitDataModule(
        **FIELDS, train_dir=tracking_set, val_dir=tracking_set, hit_eval_val=path, test_dir=filtering_set, num_test=5
    )
    whole = data.dataset("test")
    data.test_on(f"{tracking_set}/../set")
    assert (data.num_test, data.hit_eval_test) == (-1, path)
    assert data.dataset("test").num_hits.sum() < data.dataset("test").num_hits_on_disk.sum()
    assert data.dataset("test") is not whole
    data.test_on(filtering_set)
    assert data.hit_eval_test is None
    data.test_on(filtering_set, path)
    assert data.hit_eval_test == path
