"""The flat table of predictions, read back with the libraries of others."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from hitpool.config import Objects, load_checkpoint
from hitpool.evaluation import PredictionTable, PredictionWriter
from hitpool.evaluation.table_file import write_table

pytestmark = pytest.mark.filterwarnings("ignore:.*have no logger")

EVENTS, SLOTS = 40, 2
FIELDS = [f"truthMuon_{name}" for name in ("eta", "phi", "pt", "q", "qpt")]
UNITS = {
    f"{what}_truthMuon_{name}": unit
    for what in ("track", "particle")
    for name, unit in {"phi": "rad", "pt": "GeV", "q": "e", "qpt": "1/GeV"}.items()
}

TWO_PROCESSES = """
import sys
from pathlib import Path
from lightning.pytorch import Trainer
from hitpool.config import load_checkpoint
from hitpool.evaluation import PredictionTable

objects = load_checkpoint(sys.argv[1])
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_progress_bar=False,
                  use_distributed_sampler=False, callbacks=[PredictionTable(sys.argv[2])], default_root_dir=sys.argv[3])
trainer.predict(objects.model, objects.datamodule, return_predictions=False)
"""


def run(folder: Path, *callbacks: Callback, **options: object) -> Trainer:
    options = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, **options}
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), enable_model_summary=False, **options)


def predict(objects: Objects, folder: Path, *callbacks: Callback) -> None:
    run(folder, *callbacks).predict(objects.model, objects.datamodule, return_predictions=False)


@pytest.fixture(scope="module")
def folder(objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same predictions as a table and per event."""
    folder = tmp_path_factory.mktemp("predictions")
    predict(objects, folder, PredictionTable("table.h5"), PredictionWriter("events.h5"))
    assert {path.name for path in folder.iterdir()} == {"table.h5", "events.h5"}
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> np.ndarray:
    with h5py.File(folder / "table.h5") as file:
        return file["tracks"][:]


def test_there_is_a_row_for_each_slot(table: np.ndarray) -> None:
    np.testing.assert_array_equal(table["event"], np.repeat(np.arange(EVENTS), SLOTS))
    np.testing.assert_array_equal(table["slot"], np.tile(np.arange(SLOTS), EVENTS))
    expected = ["event", "slot", "track_valid", "track_valid_prob", *(f"track_{field}" for field in FIELDS)]
    expected += ["track_num_hits", "particle", *(f"particle_{field}" for field in FIELDS)]
    assert sorted(table.dtype.names) == sorted(expected)


def test_rows_are_what_is_written_per_event(table: np.ndarray, folder: Path) -> None:
    with h5py.File(folder / "events.h5") as file:
        for event in range(EVENTS):
            rows, preds = table[table["event"] == event], file[f"{event}/preds/final"]
            np.testing.assert_array_equal(rows["track_valid_prob"], preds["track_valid/track_valid_prob"][0])
            np.testing.assert_array_equal(rows["track_num_hits"], preds["track_hit_valid/track_hit_valid"][0].sum(-1))
            for field in FIELDS:
                stored = preds[f"parameter_regression/track_{field}"][0]
                np.testing.assert_array_equal(rows[f"track_{field}"], stored)


def test_truth_is_that_of_the_matching_of_the_test(table: np.ndarray, objects: Objects) -> None:
    network, dataset = objects.model.model.eval(), objects.datamodule.dataset("test")
    seen = set()
    for event in range(EVENTS):
        inputs, targets = dataset[event]
        with torch.no_grad():
            pair = network.pair("final", network(inputs)["final"], targets)[0].tolist()
        rows = table[table["event"] == event]
        for number, slot in enumerate(pair):
            row, valid = rows[slot], bool(targets["particle_valid"][0, number])
            assert row["particle"] == (number if valid else -1)
            for field in FIELDS:
                np.testing.assert_equal(row[f"particle_{field}"], targets[f"particle_{field}"][0, number].item())
            seen.add((valid, number == slot))
    assert seen >= {(True, False), (False, True)}  # pairs in another order, and slots without particle


def test_hdf5_has_units(folder: Path) -> None:
    with h5py.File(folder / "table.h5") as file:
        assert json.loads(file["tracks"].attrs["units"]) == UNITS


def test_units_of_the_data_set_come_first(objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = objects.datamodule.dataset("test").index
    monkeypatch.setitem(vars(index), "units", {"truthMuon_pt": "MeV", "truthMuon_eta": ""})
    predict(objects, tmp_path, PredictionTable())
    with h5py.File(tmp_path / "predictions.h5") as file:
        stored = json.loads(file["tracks"].attrs["units"])
    assert stored == UNITS | {"track_truthMuon_pt": "MeV", "particle_truthMuon_pt": "MeV"}


def test_parquet_is_the_same_table(objects: Objects, table: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    predict(objects, tmp_path, PredictionTable("part/table.parquet"))
    read = parquet.read_table(tmp_path / "part" / "table.parquet")
    assert read.column_names == list(table.dtype.names)
    for field in read.schema:
        np.testing.assert_array_equal(read[field.name].to_numpy(), table[field.name])
        assert (field.metadata or {}).get(b"unit", b"").decode() == UNITS.get(field.name, "")


def test_root_is_the_same_table(objects: Objects, table: np.ndarray, tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    predict(objects, tmp_path, PredictionTable("table.root"))
    with uproot.open(tmp_path / "table.root") as file:
        assert json.loads(file["units"]) == UNITS
        arrays = file["tracks"].arrays(library="np")
    assert list(arrays) == list(table.dtype.names)
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, table[name])


def test_a_long_table_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uproot = pytest.importorskip("uproot")
    monkeypatch.setattr("hitpool.evaluation.table_file.ENTRIES_AT_ONCE", 3)
    write_table(tmp_path / "long.root", "tracks", {"event": np.arange(8), "ok": np.arange(8) % 2 == 0}, {})
    with uproot.open(tmp_path / "long.root") as file:
        assert file["tracks"]["event"].num_baskets == 3
        np.testing.assert_array_equal(file["tracks"]["event"].array(library="np"), np.arange(8))


def test_nothing_is_lost_or_doubled_by_two_processes(checkpoint: Path, tmp_path: Path) -> None:
    """40 events in three batches of 16 for two processes, the last of them shorter."""
    written = tmp_path / "table.h5"
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES)
    done = subprocess.run([sys.executable, script, checkpoint, written, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("written: ") == 1
    predict(load_checkpoint(checkpoint), tmp_path, PredictionTable("alone.h5"))
    with h5py.File(written) as both, h5py.File(tmp_path / "alone.h5") as alone:
        np.testing.assert_array_equal(both["tracks"]["event"], np.repeat(np.arange(EVENTS), SLOTS))
        for name in alone["tracks"].dtype.names:
            np.testing.assert_allclose(both["tracks"][name], alone["tracks"][name], rtol=1e-3, atol=1e-3)


class Stop(Callback):
    def on_predict_batch_end(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError("stop")


def test_nothing_is_left_of_a_prediction_that_fails(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "table.h5").write_bytes(b"older")
    with pytest.raises(RuntimeError, match="stop"):
        predict(objects, tmp_path, PredictionTable("table.h5"), Stop())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"table.h5": b"older"}


def test_unknown_suffixes_are_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"table.csv: expected a file that ends in .h5, .*.root, got '.csv'"):
        PredictionTable("table.csv").on_predict_start(run(tmp_path), LightningModule())


def test_a_missing_library_is_named_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"table.parquet: needs pyarrow .*pip install 'hitpool\[parquet\]'"):
        PredictionTable("table.parquet").on_predict_start(run(tmp_path), LightningModule())
    assert not list(tmp_path.iterdir())
