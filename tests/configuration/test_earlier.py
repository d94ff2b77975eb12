"""Configurations of earlier versions, in files, run directories and checkpoints, give the network that they gave."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hitpool.config import load, load_checkpoint
from hitpool.configuration.earlier import update
from hitpool.configuration.files import read
from hitpool.configuration.stored import KEY

WIDE = {"regression_hidden_dim": 144, "regression_num_layers": 3, "dropout": 0.1}


def tasks_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    modules = config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"]
    return [task["init_args"] for task in modules]


@pytest.fixture(scope="module", params=["D/2", "D"])
def trained(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a checkpoint holds today of a network with D/2 or D pooled features."""
    options = {"pooled_dim": 32} | WIDE if request.param == "D" else {}
    objects = load("muon_seed.yaml", {f"model.model.tasks.2.{name}": value for name, value in options.items()})
    state = {"state_dict": objects.model.state_dict(), "global_step": 1, "pytorch-lightning_version": "2.6.0"}
    return state | {KEY: objects.config, "text": str(objects.model)}


@pytest.fixture(params=["input_hit", "input_constituent"])
def old(request: pytest.FixtureRequest, trained: dict[str, Any]) -> dict[str, Any]:
    """The configuration as 0.1 and 0.2 wrote it: both names of the hits, no width."""
    config = copy.deepcopy(trained[KEY])
    for task in tasks_of(config)[1:]:
        task |= {"input_hit": None, "input_constituent": None, request.param: "hit"}
    tasks_of(config)[2]["pooled_dim"] = None
    return config


def test_a_checkpoint_gives_the_same_network(trained: dict[str, Any], old: dict[str, Any], tmp_path: Path) -> None:
    torch.save(trained | {KEY: old}, tmp_path / "best.ckpt")
    objects = load_checkpoint(tmp_path / "best.ckpt")
    assert str(objects.model) == trained["text"]
    assert all(torch.equal(value, trained["state_dict"][key]) for key, value in objects.model.state_dict().items())


def test_a_run_directory_gives_the_same_network(trained: dict[str, Any], old: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "ckpts").mkdir()
    (tmp_path / "config.yaml").write_text(f"# hitpool 0.1.0\n{yaml.safe_dump(old)}")
    state = {name: value for name, value in trained.items() if name != KEY}
    torch.save(state, tmp_path / "ckpts" / "best.ckpt")
    objects = load_checkpoint(tmp_path / "ckpts" / "best.ckpt")
    assert str(objects.model) == trained["text"]


def test_a_file_with_tasks_alone_has_todays_names(tmp_path: Path) -> None:
    arguments = {"name": "parameter_regression", "input_constituent": "hit", "dim": 32} | WIDE
    task = {"class_path": "hitpool.tasks.WeightedPoolingObjectHitRegressionTask", "init_args": arguments}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task))
    (found,) = read(tmp_path / "task.yaml").tasks
    expected = {"name": "parameter_regression", "input_hit": "hit", "dim": 32, "pooled_dim": 32}
    assert found["init_args"] == expected | WIDE


def test_other_tasks_stay_as_they_are() -> None:
    todays = {"class_path": "hitpool.tasks.WeightedPoolingObjectHitRegressionTask"}
    todays["init_args"] = {"input_hit": "hit", "dim": 32, "pooled_dim": None} | WIDE  # D/2
    others = {"class_path": "mine.Task", "init_args": {"input_constituent": "hit"}}
    before = copy.deepcopy([todays, others])
    update([todays, others])
    assert [todays, others] == before
