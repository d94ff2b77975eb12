from pathlib import Path
from typing import Any

import pytest
import torch

from hitpool import tasks
from hitpool.config import load, load_checkpoint
from hitpool.configuration.check import check

FIELDS_OF_THE_ORIGINAL = 23


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("muon.yaml", tasks.WeightedPoolingObjectHitRegressionTask),
        ("muon_seed.yaml", tasks.WeightedPoolingObjectHitRegressionTask),
        ("muon_query.yaml", tasks.ObjectRegressionTask),
        ("acts.yaml", tasks.WeightedPoolingObjectHitRegressionTask),
        ("acts_busy.yaml", tasks.WeightedPoolingObjectHitRegressionTask),
    ],
)
def test_packaged_configurations_load(name: str, head: type) -> None:
    objects = load(name)
    kinds = [type(task) for task in objects.model.model.tasks]
    seeds = [tasks.ObjectSeedTask] if objects.model.model.decoder.dynamic_queries else []
    assert kinds == [*seeds, tasks.ObjectValidTask, tasks.ObjectHitMaskTask, head]
    assert objects.model.name == objects.config["name"] == name.removesuffix(".yaml")
    assert objects.trainer.max_epochs == objects.config["trainer"]["max_epochs"]
    assert not Path("runs").exists()


def test_seed_configuration_has_the_settings_of_the_original() -> None:
    objects = load("muon_seed.yaml")
    network, head = objects.model.model, objects.model.model.tasks[2]
    hits = objects.datamodule.inputs["hit"]
    assert len(hits) == len(head.hit_fields) == FIELDS_OF_THE_ORIGINAL
    assert {"r", "s", "theta", "phi", "eta"} < set(hits)
    assert (network.dim, len(network.encoder.layers), len(network.decoder.layers)) == (32, 2, 2)
    assert (network.decoder.num_queries, head.assignment_threshold) == (2, 0.1)
    assert head.fields == ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
    assert head.loss_name == "smooth_l1"
    assert head.space.inverse.tolist() == [False, False, True, False]
    assert not head.space.periodic.any()
    assert not head.space.sign.any()
    assert (head.space.mean.tolist(), head.space.spread.tolist()) == ([0.0] * 4, [1.0] * 4)
    assert [type(layer) for layer in head.regression_head] == [torch.nn.Linear]
    assert head.regression_head[0].in_features == 5 * 32
    assert objects.model.optimizer == "Lion"


def test_overrides_reach_every_depth() -> None:
    objects = load(
        "muon.yaml",
        {
            "data.batch_size": 11,
            "model.optimizer": "Lion",
            "model.lrs_config.max": 0.5,
            "model.model.tasks.2.assignment_threshold": 0.25,
            "model.model.tasks.2.prediction_range": {"truthMuon_pt": [3, 300]},
            "data.inputs": {"hit": ["r", "eta"]},
            "model.model.input_nets.0.fields": ["r", "eta"],
            "model.model.input_nets.0.net.input_size": 2,
            "model.model.input_nets.0.posenc": None,
            "model.model.tasks.2.hit_fields": ["eta"],
            "model.model.tasks.2.track_fit": None,
            "model.model.tasks.2.response": None,
            "model.model.tasks.2.hit_response": None,
        },
    )
    head = objects.model.model.tasks[2]
    assert (objects.datamodule.batch_size, objects.model.optimizer, objects.model.lrs_config.max) == (11, "Lion", 0.5)
    assert (head.assignment_threshold, head.hit_fields) == (0.25, ["eta"])
    assert objects.config["model"]["lrs_config"]["max"] == 0.5


def test_matmul_precision_is_that_of_the_process() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("medium", "highest"):
            load("muon.yaml", {"matmul_precision": precision})
            assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    with pytest.raises(ValueError, match="matmul_precision: expected one of highest, high, medium, got low"):
        load("muon.yaml", {"matmul_precision": "low"})


def test_same_seed_same_weights() -> None:
    first, second, other = (
        load("muon.yaml", {"seed_everything": seed}).model.state_dict()["model.decoder.queries"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.batchsize": 3}, r"no option 'data\.batchsize' \(did you mean 'data\.batch_size'\?\)"),
        ({"model.model.tasks.0.loss": 1.0}, "ObjectValidTask has no option 'loss' .did you mean 'losses'"),
        ({"model.models.tasks.0.loss": 1.0}, r"models"),
        ({"data.max_particles": 3}, r"num_queries is 2 and data\.max_particles is 3: set both"),
        ({"model.model.tasks.2.hit_fields": ["r", "rho"]}, r"tasks\.2\.hit_fields names rho, .*data\.inputs\.hit"),
        ({"model.model.tasks.2.input_hit": "strip"}, r"tasks\.2\.input_hit is 'strip', but data\.inputs has \['hit'\]"),
        ({"data.targets.particle": ["truthMuon_pt"]}, r"tasks\.2\.fields names truthMuon_eta.*data\.targets\.particle"),
        ({"model.model.tasks.2.dim": 16}, "dim"),
    ],
)
def test_parts_that_do_not_fit_are_errors(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("muon.yaml", overrides)


def test_fields_of_inputs_and_their_position_encoding_are_checked() -> None:
    def config(**net: Any) -> dict[str, Any]:
        modules = [{"class_path": "InputNet", "init_args": net}]
        nets = {"class_path": "torch.nn.ModuleList", "init_args": {"modules": modules}}
        return {
            "data": {"inputs": {"hit": ["x", "y"]}, "targets": {"particle": ["pt"]}, "max_particles": 2},
            "model": {"model": {"input_nets": nets}},
        }

    check(config(input_name="hit", fields=["x", "y"]))
    with pytest.raises(ValueError, match=r"input_nets\.0\.fields names z"):
        check(config(input_name="hit", fields=["x", "z"]))
    encoder = {"class_path": "PositionEncoder", "init_args": {"input_name": "hit", "fields": ["phi"]}}
    with pytest.raises(ValueError, match=r"input_nets\.0\.posenc\.fields names phi"):
        check(config(input_name="hit", fields=["x"], posenc=encoder))
    encoder = {
        "class_path": "PositionEncoder",
        "init_args": {"input_name": "hit", "fields": ["x"], "angles": [["y", "s"]]},
    }
    with pytest.raises(ValueError, match=r"input_nets\.0\.posenc\.angles names s,"):
        check(config(input_name="hit", fields=["x"], posenc=encoder))


def test_fields_of_the_track_fit_are_checked() -> None:
    path = "model.model.tasks.2.track_fit"
    with pytest.raises(ValueError, match=r"tasks\.2\.track_fit\.points names X, .*data\.inputs\.hit"):
        load("acts.yaml", {f"{path}.points": ["X", "y", "z"]})
    with pytest.raises(ValueError, match=r"tasks\.2\.track_fit\.second names u, v, w"):
        load("acts.yaml", {f"{path}.second": ["u", "v", "w"]})
    helix = {"class_path": "hitpool.fits.HelixFit", "init_args": {"field": 2.0, "hit_fields": ["r", "rho"]}}
    with pytest.raises(ValueError, match=r"tasks\.2\.track_fit\.hit_fields names rho"):
        load("acts.yaml", {path: helix, "model.model.tasks.2.response": None})


@pytest.mark.parametrize("content", [b"trainer: [1", b"name: \xff", b"model:\n  dim: *dim\n"])
def test_files_that_are_not_yaml_are_named(content: bytes) -> None:
    Path("broken.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"^broken\.yaml is not readable as YAML.*$"):
        load("broken.yaml")


def test_task_order_is_checked() -> None:
    modules = load("muon.yaml").config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"]
    with pytest.raises(ValueError, match=r"needs track_hit_logit.*put it after task track_hit_valid"):
        load("muon.yaml", {"model.model.init_args.tasks.init_args.modules": [modules[0], modules[2], modules[1]]})


@pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|exists and is not empty)")
def test_objects_train_from_python_and_are_rebuilt(workplace: Path) -> None:
    folders = {f"data.{part}_dir": f"data/{part}" for part in ("train", "val", "test")}
    options = {"data.batch_size": 8, "trainer.max_epochs": 1, "model.model.tasks.2.loss_weight": 0.5}
    objects = load("muon.yaml", folders | options)
    objects.trainer.fit(objects.model, objects.datamodule)
    assert objects.trainer.log_dir == "runs/muon/version_0"
    rebuilt = load_checkpoint("runs/muon/version_0/ckpts/last.ckpt")
    assert rebuilt.config == objects.config
    trained = objects.model.state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in rebuilt.model.state_dict().items())
