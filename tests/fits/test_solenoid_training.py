"""The second phase of `acts.yaml` and what an evaluation finds, on events of one simulated track each."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from hitpool.acts.columns import HIT_FEATURES, TRUTH_FEATURES
from hitpool.config import Objects, load
from hitpool.evaluation.collector import ParameterCollector
from hitpool.evaluation.comparison import compare
from hitpool.files import Events, write_data_set
from hitpool.training.refinement import Refinement, refine

from .solenoid_tracks import RADIATION_LENGTHS, simulate

TRACKS = 600
MILLIMETRES = np.array([1e3] * 3 + [1.0] * 6 + [1e6] * 2)


def write(folder: Path, seed: int) -> Path:
    """A data set with the columns of `hitpool acts`."""
    sample = simulate(TRACKS, seed)
    fields = {name: (sample.hits.numpy() * MILLIMETRES).reshape(-1, 11)[:, k] for k, name in enumerate(fit_columns())}
    zero = np.zeros(TRACKS * 10)
    hits = np.stack([fields.get(name, zero) for name in HIT_FEATURES], axis=-1)
    d0, z0, phi, eta, qpt = sample.tracks.T
    true = {"pt": 1 / abs(qpt), "eta": eta, "phi": phi, "q": np.sign(qpt), "d0": 1e3 * d0, "z0": 1e3 * z0}
    tracks = np.stack([true[name] for name in TRUTH_FEATURES], axis=-1)
    counts = np.full(TRACKS, 10), np.ones(TRACKS, np.int64)
    events = Events(hits.astype(np.float32), counts[0], tracks.astype(np.float32), counts[1])
    write_data_set(folder, [events], HIT_FEATURES, TRUTH_FEATURES, {}, "test")
    return folder


def fit_columns() -> list[str]:
    return ["x", "y", "z", *(f"loc{i}_{axis}" for i in range(2) for axis in "xyz"), "var_loc0", "var_loc1"]


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    folders = {f"data.{part}_dir": str(write(tmp_path / part, seed)) for seed, part in enumerate(("train", "test"))}
    folders["data.val_dir"] = folders["data.test_dir"]
    fit = "model.model.tasks.2.track_fit"
    options = {f"{fit}.beam_spot": [1e-3, 0.1], f"{fit}.radiation_lengths": RADIATION_LENGTHS / 5}
    options |= {"trainer.accelerator": "cpu", "model.model.tasks.2.standardize": False}
    return load("acts.yaml", options | folders)


@pytest.mark.filterwarnings("ignore:You called `self.log")
def test_the_second_phase_gives_errors_that_an_evaluation_confirms(objects: Objects) -> None:
    """The fit takes the material to be a fifth of what it is, so that its errors are too small.

    The network is new: it gives every hit about the same probability, which is right for one track.
    """
    network, data = objects.model.model, objects.datamodule
    batches = (data.whole_dataloader(part) for part in ("train", "val"))
    torch.nn.init.constant_(network.tasks[2].response.net[-1].bias[3:6], -20.0)  # the pooled regression is new too
    report = refine(network, *batches, Refinement(epochs=30, batch_size=100), seed=0)
    assert report.startswith(f"second phase: {TRACKS} tracks described")
    collector = ParameterCollector(network)
    trainer = Trainer(accelerator="cpu", logger=False, callbacks=[collector], enable_progress_bar=False)
    trainer.test(objects.model, data, verbose=False)
    tracks = collector.tracks
    tracks.estimates["model"].valid[:] = tracks.estimates["fit alone"].valid[:] = (
        True  # the network has learned nothing
    )
    rows = {(row.quantity, row.measure): row.numbers for row in compare(tracks)}
    for name in ("qpt", "eta", "phi"):
        assert rows[name, "sigma68"]["model"].value < 1.1 * rows[name, "sigma68"]["true hits"].value
        assert rows[name, "pull"]["fit alone"].value > 1.4
        assert 0.8 < rows[name, "pull"]["model"].value < 1.2, name
    assert rows["q", "accuracy"]["model"].value > 0.99
