"""A small data set, and the default network with random weights."""

import copy
from pathlib import Path

import pytest
import torch

from hitpool.config import Objects, load
from hitpool.nn import MaskFormer
from hitpool.simulation import simulate


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "events"
    simulate(path, events=40, seed=3, processes=1)
    return path


@pytest.fixture(scope="session")
def objects(data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Objects:
    overrides = {f"data.{part}_dir": str(data_set) for part in ("train", "val", "test")}
    overrides |= {"runs": str(tmp_path_factory.mktemp("runs")), "trainer.max_epochs": 1, "data.batch_size": 10}
    overrides |= {"trainer.enable_progress_bar": False, "trainer.accelerator": "cpu"}
    return load("muon.yaml", overrides)


@pytest.fixture(scope="session")
def network(objects: Objects) -> MaskFormer:
    torch.manual_seed(11)
    network = copy.deepcopy(objects.model.model)
    values = objects.datamodule.train_targets()
    for task in network.tasks:
        if hasattr(task, "fit_standardization"):
            task.fit_standardization(values)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network
