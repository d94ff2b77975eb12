"""Tracks from hits in memory: the same as those of `hitpool predict`, for every form of input."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer

import hitpool
from hitpool import Predictor, predictor
from hitpool.config import load, load_checkpoint
from hitpool.evaluation import PredictionTable, PredictionWriter
from hitpool.export import export
from hitpool.files import open_event_file, read_index
from hitpool.predictor import PredictedTracks
from hitpool.simulation import simulate

EVENTS = 12
Event = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "events"
    simulate(path, events=EVENTS, seed=5, processes=1)
    return path


@pytest.fixture(scope="module")
def checkpoint(data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model with random weights, in a run directory; it saw columns of the data set."""
    overrides = {f"data.{part}_dir": str(data_set) for part in ("train", "val", "test")} | {"data.batch_size": 5}
    objects = load("muon.yaml", overrides)
    values = objects.datamodule.train_targets()
    for task in objects.model.model.tasks:
        if hasattr(task, "fit_standardization"):
            task.fit_standardization(values)
    run = tmp_path_factory.mktemp("run")
    (run / "config.yaml").write_text(yaml.safe_dump(objects.config))
    (run / "ckpts").mkdir()
    data = {"HitDataModule": {"hit_columns": read_index(data_set).hit_columns}}
    torch.save({"state_dict": objects.model.state_dict()} | data, run / "ckpts" / "best.ckpt")
    return run / "ckpts" / "best.ckpt"


@pytest.fixture(scope="module")
def events(data_set: Path) -> list[Event]:
    """The hits of each event as they are on disk, by column."""
    index, found = read_index(data_set), []
    for number in range(EVENTS):
        with open_event_file(index.path(index.file_index[number]), index.hit_columns, index.track_columns) as file:
            row = index.row_index[number]
            hits = file.hits[row, : file.num_hits[row]]
        found.append(dict(zip(index.hit_columns, hits.T, strict=True)))
    return found


@pytest.fixture(scope="module")
def predict(checkpoint: Path) -> Predictor:
    return Predictor(checkpoint)


def same(got: PredictedTracks, expected: PredictedTracks) -> None:
    """The same up to what another batch rounds."""
    for name in ("track_probability", "hit_probability"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
    for field, values in expected.parameters.items():
        np.testing.assert_allclose(got.parameters[field], values, rtol=1e-3, atol=1e-4)


def test_numbers_are_those_of_hitpool_predict(
    predict: Predictor, checkpoint: Path, events: list[Event], tmp_path: Path
) -> None:
    objects = load_checkpoint(checkpoint)
    objects.datamodule.batch_size = 1  # no padding
    callbacks = [PredictionTable("table.h5"), PredictionWriter("events.h5")]
    trainer = Trainer(
        default_root_dir=tmp_path, callbacks=callbacks, logger=False, accelerator="cpu", enable_progress_bar=False
    )
    trainer.predict(objects.model, objects.datamodule, return_predictions=False)
    with h5py.File(tmp_path / "table.h5") as file, h5py.File(tmp_path / "events.h5") as per_event:
        table = file["tracks"][:]
        for number, event in enumerate(events):
            tracks, rows = predict(event), table[table["event"] == number]
            assert set(tracks.parameters) == {f"truthMuon_{name}" for name in ("eta", "phi", "pt", "q", "qpt")}
            for field, values in tracks.parameters.items():
                np.testing.assert_allclose(values, rows[f"track_{field}"], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(tracks.track_probability, rows["track_valid_prob"], rtol=1e-5)
            np.testing.assert_array_equal((tracks.hit_probability >= 0.5).sum(-1), rows["track_num_hits"])
            stored = per_event[f"{number}/preds/final/track_hit_valid/track_hit_valid_prob"][0]
            np.testing.assert_allclose(tracks.hit_probability, stored, rtol=1e-5, atol=1e-6)


def test_a_list_gives_a_list(predict: Predictor, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "HITS_AT_ONCE", 200)  # several batches
    tracks = predict(events)
    assert len(tracks) == EVENTS
    for own, event in zip(tracks, events, strict=True):
        same(own, predict(event))
    assert predict([]) == []


def test_offsets_cut_the_hits_into_events(predict: Predictor, events: list[Event]) -> None:
    sizes = [len(event["spacePoint_time"]) for event in events]
    flat = {column: np.concatenate([event[column] for event in events]) for column in events[0]}
    tracks = predict(flat, np.cumsum([0, *sizes]))
    assert tracks.track_probability.shape == (EVENTS, 2)
    assert tracks.hit_probability.shape == (2, sum(sizes))
    ends = np.cumsum(sizes)
    for number, event in enumerate(events):
        parameters = {field: values[number] for field, values in tracks.parameters.items()}
        hits = tracks.hit_probability[:, ends[number] - sizes[number] : ends[number]]
        same(PredictedTracks(parameters, tracks.track_probability[number], hits), predict(event))


def test_tensors_give_tensors(predict: Predictor, events: list[Event]) -> None:
    given = {column: torch.from_numpy(values.copy()) for column, values in events[0].items()}
    tracks, expected = predict(given), predict(events[0])
    assert isinstance(tracks.hit_probability, torch.Tensor)
    assert isinstance(tracks.parameters["truthMuon_pt"], torch.Tensor)
    assert isinstance(expected.parameters["truthMuon_pt"], np.ndarray)
    same(tracks, expected)


def test_other_types_and_further_columns_do_not_matter(predict: Predictor, events: list[Event]) -> None:
    event = {column: values.astype(np.float64) for column, values in events[0].items()}
    event |= {"spacePoint_layer": events[0]["spacePoint_layer"].astype(np.int16).tolist(), "mine": np.zeros((2, 2))}
    same(predict(event), predict(events[0]))


def test_empty_events(predict: Predictor, events: list[Event]) -> None:
    empty = {column: [] for column in predict.columns}
    tracks = predict(empty)
    assert tracks.hit_probability.shape == (2, 0)
    assert np.isfinite(tracks.track_probability).all()
    assert np.isfinite(tracks.parameters["truthMuon_pt"]).all()
    _, between, _ = predict([events[0], empty, events[1]])
    same(between, tracks)
    none = predict(empty, [0])
    assert none.track_probability.shape == none.parameters["truthMuon_pt"].shape == (0, 2)
    assert predict(empty, [0, 0, 0]).track_probability.shape == (2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacePoint_tim": [1.0], "spacePoint_time": None}, "event 1 has no column 'spacePoint_time' .did you mean"),
        ({"spacePoint_time": [1.0, 2.0]}, r"event 1: 'spacePoint_time' has shape \[2\], expected \[\d+\], as '"),
        ({"spacePoint_time": [[1.0]]}, r"event 1: 'spacePoint_time' has shape \[1, 1\], expected"),
    ],
)
def test_wrong_columns_are_named(predict: Predictor, events: list[Event], change: dict, message: str) -> None:
    wrong = {column: values for column, values in (events[1] | change).items() if values is not None}
    with pytest.raises((KeyError, ValueError), match=message):
        predict([events[0], wrong])


def test_a_missing_column_is_named_with_those_that_there_are(predict: Predictor) -> None:
    with pytest.raises(KeyError, match=r"hits has no column .*; the model needs .*spacePoint_driftR.*; there are x, y"):
        predict({"x": [1.0], "y": [2.0]})


def test_what_is_not_finite_is_named(predict: Predictor, events: list[Event]) -> None:
    wrong = events[0] | {"spacePoint_time": events[0]["spacePoint_time"].copy()}
    wrong["spacePoint_time"][3] = np.nan
    with pytest.raises(ValueError, match="hits: 'spacePoint_time' of hit 3 is nan, expected a finite number"):
        predict(wrong)


@pytest.mark.parametrize("offsets", [[], [1, 5], [0, 3], [0, 9, 5], [-1, 5]])
def test_offsets_that_do_not_fit_are_refused(predict: Predictor, events: list[Event], offsets: list[int]) -> None:
    five = {column: values[:5] for column, values in events[0].items()}
    with pytest.raises(ValueError, match="offsets: expected ascending numbers from 0 to the number of hits, 5, got"):
        predict(five, offsets)


def test_an_exported_model_gives_the_same(
    predict: Predictor, checkpoint: Path, events: list[Event], tmp_path: Path
) -> None:
    export(checkpoint, tmp_path / "model.pt")
    exported = Predictor(tmp_path / "model.pt")
    assert (sorted(exported.columns), exported.fields) == (sorted(predict.columns), predict.fields)
    assert exported.units == predict.units
    needed = {column: events[0][column] for column in exported.columns}  # not all that the file takes
    same(exported(needed), predict(events[0]))
    for own, expected in zip(exported(events), predict(events), strict=True):
        same(own, expected)


def test_a_data_set_gives_what_its_events_give(predict: Predictor, events: list[Event], data_set: Path) -> None:
    whole, alone = predict(data_set), predict(events)
    assert whole.track_probability.shape == (EVENTS, 2)
    for number, own in enumerate(alone):
        np.testing.assert_allclose(whole.parameters["truthMuon_pt"][number], own.parameters["truthMuon_pt"], rtol=1e-5)
    together = list(predict.stream(data_set, events=5))
    assert [len(part.track_probability) for part in together] == [5, 5, 2]
    np.testing.assert_allclose(
        np.concatenate([part.track_probability for part in together]), whole.track_probability, rtol=1e-5
    )
    hits = np.concatenate([part.hit_probability for part in together], axis=1)
    np.testing.assert_allclose(hits, whole.hit_probability, atol=1e-5)


def test_awkward_gives_awkward(predict: Predictor, events: list[Event]) -> None:
    awkward = pytest.importorskip("awkward")
    empty = {column: [] for column in predict.columns}
    given = [{column: list(event[column]) for column in predict.columns} for event in [*events, empty]]
    array = awkward.values_astype(awkward.Array(given), np.float32)
    found, expected = predict(array), predict([*events, {column: np.array(own) for column, own in empty.items()}])
    sizes = [len(event["spacePoint_time"]) for event in [*events, empty]]
    assert awkward.num(found.hit_probability, axis=2).tolist() == [[size, size] for size in sizes]
    for got, own in zip(found, expected, strict=True):
        np.testing.assert_allclose(got.tracks.truthMuon_pt, own.parameters["truthMuon_pt"], rtol=1e-5)
        np.testing.assert_allclose(got.tracks.track_probability, own.track_probability, rtol=1e-5)
        np.testing.assert_allclose(awkward.to_numpy(got.hit_probability), own.hit_probability, atol=1e-5)
    same(predict(array[3]), expected[3])
    with pytest.raises(KeyError, match="the awkward array has no column 'spacePoint_time'"):
        predict(array[[column for column in predict.columns if column != "spacePoint_time"]])


def test_what_is_no_event_is_refused(predict: Predictor, events: list[Event], data_set: Path) -> None:
    table = np.stack([events[0][column] for column in predict.columns], axis=-1)
    for wrong, name in (
        (table, "an array of shape"),
        (3, "int"),
        (None, "NoneType"),
        ([1, 2.0], "a list of float, int"),
    ):
        with pytest.raises(TypeError, match=f"expected hits by column .* the folder of a data set, got {name}"):
            predict(wrong)
    for several in (events, data_set):
        with pytest.raises(TypeError, match=r"offsets cut hits by column into events, got .* with offsets"):
            predict(several, [0, 5])
    for offsets in ([0, 2.5, 5], [[0, 5]], 5):
        with pytest.raises(ValueError, match=r"offsets: expected whole numbers \[events \+ 1\], got"):
            predict(events[0], offsets)


def test_structured_arrays_in_and_out(predict: Predictor, events: list[Event]) -> None:
    hits = np.empty(len(events[0]["spacePoint_time"]), [(column, np.float32) for column in predict.columns])
    for column in predict.columns:
        hits[column] = events[0][column]
    tracks = predict(hits)
    same(tracks, predict(events[0]))
    same(predict([hits])[0], tracks)
    table = tracks.structured()
    assert table.dtype.names == ("track_probability", *predict.fields)
    np.testing.assert_array_equal(table["truthMuon_eta"], tracks.parameters["truthMuon_eta"])


def test_units_are_those_on_disk(predict: Predictor) -> None:
    assert predict.units["spacePoint_globEdgeLowX"] == "mm"
    assert predict.units["truthMuon_pt"] == "GeV"
    assert "truthMuon_eta" not in predict.units


def test_random_numbers_stay_as_they_are(checkpoint: Path, events: list[Event]) -> None:
    def state() -> tuple:
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = state()
    Predictor(checkpoint)(events[0])
    assert state() == before


def test_threads_do_not_disturb_each_other(predict: Predictor, events: list[Event]) -> None:
    with ThreadPoolExecutor(4) as pool:
        for own, event in zip(pool.map(predict, events), events, strict=True):
            np.testing.assert_array_equal(own.hit_probability, predict(event).hit_probability)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.ckpt does not exist; expected a checkpoint"):
        Predictor(tmp_path / "none.ckpt")


def test_foreign_classes_need_trust(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    config = yaml.safe_load((checkpoint.parents[1] / "config.yaml").read_text())
    config["model"]["model"]["class_path"] = "os.path.join"
    torch.save(content | {"hitpool_configuration": config}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match=r"os.path.join"):
        Predictor(tmp_path / "foreign.ckpt")


def test_importing_hitpool_does_not_import_lightning() -> None:
    code = (
        "import sys, hitpool; print('lightning' in sys.modules); hitpool.Predictor; print('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="no attribute 'Predicter'"):
        getattr(hitpool, "Predicter")  # noqa: B009
