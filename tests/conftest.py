"""Simulated events and the default model; a worker of pytest-xdist, and what it starts, computes with one thread."""

import os
from pathlib import Path

import pytest
import yaml

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

    import torch

    torch.set_num_threads(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "cuda: runs on a GPU")


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hitpool.simulation import simulate

    path = tmp_path_factory.mktemp("data") / "events"
    simulate(path, events=40, seed=5, processes=1)
    return path


@pytest.fixture(scope="session")
def objects(data_set: Path, tmp_path_factory: pytest.TempPathFactory):
    from hitpool.config import load

    overrides = {f"data.{part}_dir": str(data_set) for part in ("train", "val", "test")}
    overrides |= {"runs": str(tmp_path_factory.mktemp("runs")), "data.batch_size": 16}
    objects = load("muon.yaml", overrides)
    values = objects.datamodule.train_targets()
    for task in objects.model.model.tasks:
        if hasattr(task, "fit_standardization"):
            task.fit_standardization(values)
    return objects


@pytest.fixture(scope="session")
def checkpoint(objects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model with random weights, in a run directory."""
    import torch

    run = tmp_path_factory.mktemp("run")
    (run / "config.yaml").write_text(yaml.safe_dump(objects.config))
    (run / "ckpts").mkdir()
    torch.save({"state_dict": objects.model.state_dict()}, run / "ckpts" / "best.ckpt")
    return run / "ckpts" / "best.ckpt"
