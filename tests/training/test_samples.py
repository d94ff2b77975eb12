import multiprocessing
import os
import shutil
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

import hitpool.simulation
from hitpool.training import Samples

FORK = multiprocessing.get_context("fork")


def test_other_size_or_seed_is_an_error(tmp_path: Path) -> None:
    samples = Samples(folder=str(tmp_path), train=30, val=10, test=5)
    samples.check()
    for part, events in {"train": 30, "val": 12}.items():
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "event_file_indices.npy", np.zeros(events, np.int64))
        (tmp_path / part / "metadata.yaml").write_text("generator: {seed: 1}")
    with pytest.raises(ValueError, match=r"val holds 12 events, 10 are asked for.*--simulate\.val 12"):
        samples.check()
    Samples(folder=str(tmp_path), train=30, val=12, test=5).check()
    with pytest.raises(ValueError, match=r"train was simulated with seed 1, 2 is asked for"):
        Samples(folder=str(tmp_path), train=30, val=12, test=5, seed=2).check()


def _create(samples: Samples, status: Connection) -> None:
    samples.create()
    status.send("done")


def _fail_while_simulating(samples: Samples, status: Connection) -> None:
    def fail(*arguments: object, **options: object) -> None:
        status.send("simulating")
        os.kill(os.getpid(), signal.SIGKILL)

    hitpool.simulation.simulate = fail
    samples.create()


def test_two_first_trainings_at_once_share_the_events(tmp_path: Path) -> None:
    samples = Samples(folder=str(tmp_path / "data"), train=20, val=2, test=2)
    here, there = FORK.Pipe()
    processes = [FORK.Process(target=_create, args=(samples, there)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
        assert here.recv() == "done"
    samples.check()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"train", "val", "test"}


def test_a_process_that_dies_while_simulating_is_followed_by_another(tmp_path: Path) -> None:
    samples = Samples(folder=str(tmp_path / "data"), train=2, val=2, test=2)
    here, there = FORK.Pipe()
    process = FORK.Process(target=_fail_while_simulating, args=(samples, there))
    process.start()
    assert here.recv() == "simulating"
    samples.create()
    process.join()
    samples.check()
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"train", "val", "test"}


def test_events_that_another_training_made_with_other_numbers(tmp_path: Path) -> None:
    samples = Samples(folder=str(tmp_path / "data"), train=2, val=2, test=2)
    Samples(folder=str(tmp_path / "data"), train=3, val=2, test=2).create()
    shutil.rmtree(tmp_path / "data" / "test")
    with pytest.raises(ValueError, match="train holds 3 events, 2 are asked for"):
        samples.create()
