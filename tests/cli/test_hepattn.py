"""Configurations of hepattn, and the two YAML blocks of the document that introduced the task, as they are."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool import tasks
from hitpool.cli import main
from hitpool.config import load, load_checkpoint

DATA = Path(__file__).parent / "data"
FOLDERS = [f"--data.{part}_dir=data/{part}" for part in ("train", "val", "test")]
SHORT = [*FOLDERS, "--trainer.max_epochs=1", "--data.batch_size=16", "--data.num_workers=0"]
if torch.cuda.is_available():  # the second GPU, which the fork's configuration asks for, may not be there
    SHORT += ["--trainer.accelerator=cpu", "--trainer.devices=1"]
FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def print_config(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[dict[str, Any], str]:
    """What `--print_config` writes to stdout, and stderr."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *arguments, "--print_config"])
    captured = capsys.readouterr()
    assert stop.value.code == 0, captured.err
    return yaml.safe_load(captured.out), captured.err


@pytest.mark.filterwarnings("ignore:.*Dense without activation")
@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("seed_task.yaml", "tasks parameter_regression"),
        ("seed_tasks.yaml", "tasks track_valid, track_hit_valid, parameter_regression"),
    ],
)
def test_seed_blocks_load_as_they_are(name: str, listed: str) -> None:
    with pytest.warns(UserWarning, match=rf"^{name}: {listed}; everything else from muon\.yaml$"):
        objects = load(DATA / name)
    network = objects.model.model
    head = network.tasks[2]
    assert [type(task) for task in network.tasks] == [
        tasks.ObjectValidTask,
        tasks.ObjectHitMaskTask,
        tasks.WeightedPoolingObjectHitRegressionTask,
    ]
    assert (objects.model.name, objects.datamodule.batch_size) == ("muon", 100)
    assert (len(head.hit_fields), head.hit_fields[-1], head.fields) == (23, "eta", FIELDS)
    assert (head.assignment_threshold, head.loss_weight, head.loss_name) == (0.1, 1.0, "smooth_l1")
    assert head.space.inverse.tolist() == [False, False, True, False]
    assert head.regression_head[0].in_features == 5 * 32
    assert (head.raw_hit_net.activation, head.regression_head.activation) == ("swiglu", "silu")


def test_seed_block_trains(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--model.model.tasks.2.assignment_threshold=0.2", "--trainer.precision=bf16-mixed"]
    main(["fit", f"--config={DATA / 'seed_task.yaml'}", *SHORT, *options])
    captured = capsys.readouterr()
    assert "seed_task.yaml: tasks parameter_regression; everything else from muon.yaml" in captured.err.splitlines()[:2]
    stored = (workplace / "runs/muon/version_0/config.yaml").read_text()
    assert "hepattn" not in stored
    head = yaml.safe_load(stored)["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][2]["init_args"]
    assert (head["assignment_threshold"], head["loss"], head["standardize"]) == (0.2, "smooth_l1", False)
    rebuilt = load_checkpoint(workplace / "runs/muon/version_0/ckpts/best.ckpt")
    assert rebuilt.model.model.tasks[2].assignment_threshold == 0.2


def test_the_task_that_freezes_the_model_trains_alone(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", f"--config={DATA / 'seed_task.yaml'}", *SHORT])
    base = "runs/muon/version_0/ckpts/best.ckpt"
    (task,) = yaml.safe_load((DATA / "seed_task.yaml").read_text())
    task["class_path"] = "hepattn.models.task.FrozenEncoderRegressionTask"
    task["init_args"] |= {"checkpoint_path": base, "freeze_all": True}
    Path("frozen.yaml").write_text(yaml.safe_dump(task))
    capsys.readouterr()
    main(["fit", "--config=frozen.yaml", "--name=frozen", *SHORT])
    assert f"network: input_nets, encoder, decoder, tasks.0, tasks.1 from {base}; frozen: " in capsys.readouterr().out
    run = Path("runs/frozen/version_0")
    model = yaml.safe_load((run / "config.yaml").read_text())["model"]
    assert model["frozen"] == ["input_nets", "encoder", "decoder", "tasks.0", "tasks.1"]
    assert model["network_checkpoint"] == base
    assert "val/final_track_valid_object_bce" not in (run / "metrics.csv").read_text()
    Path(base).rename("moved.ckpt")
    main(["fit", "--name=frozen", "--ckpt_path=last", "--trainer.max_epochs=2"])
    before, after = (
        torch.load(path, weights_only=True)["state_dict"] for path in ("moved.ckpt", run / "ckpts" / "last.ckpt")
    )
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.startswith("model.tasks.2.") for key in changed)


def test_tasks_go_into_the_configuration_before_them(capsys: pytest.CaptureFixture) -> None:
    config, notices = print_config(capsys, "--config=muon_query.yaml", f"--config={DATA / 'seed_task.yaml'}")
    modules = config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"]
    assert config["name"] == "muon_query"
    assert [task["class_path"].rsplit(".", 1)[-1] for task in modules] == [
        "ObjectValidTask",
        "ObjectHitMaskTask",
        "WeightedPoolingObjectHitRegressionTask",
    ]
    activation = "seed_task.yaml: replaced: Dense without activation -> swiglu, its default before November 2025\n"
    assert notices.replace(activation, "") == (
        "seed_task.yaml: tasks parameter_regression; everything else from muon_query.yaml\n"
    )
    Path("other.yaml").write_text(yaml.safe_dump({"class_path": "my.Task", "init_args": {"name": "my_task"}}))
    with pytest.raises(SystemExit, match=r"other\.yaml: whose place does task my_task \(my\.Task\) take"):
        main(["fit", "--config=other.yaml"])


@pytest.mark.parametrize("form", ["upstream", "fork"])
def test_complete_configuration_trains(form: str, workplace: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", f"--config={DATA}/hepattn_{form}.yaml", *SHORT])
    captured = capsys.readouterr()
    run = workplace / f"runs/MUON-{form}/version_0"
    stored = (run / "config.yaml").read_text()
    assert "hepattn" not in stored
    assert "sigma68 of (pT - true) / true" in captured.out
    assert json.loads((run / "results.json").read_text())
    assert {path.name for path in (run / "ckpts").iterdir()} == {"best.ckpt", "last.ckpt"}

    notices = [line for line in captured.err.splitlines() if line.startswith(f"hepattn_{form}.yaml: ")]
    hints, differences, replaced = (line.split(": ", 1)[1] for line in notices)
    assert hints.startswith("without meaning here, left out: ")
    order = {"upstream": "sorter", "fork": "input_sort_field"}[form]
    assert all(name in hints for name in (f"model.model: {order}", "attn_type", "n_jobs", "write_inputs"))
    assert all(name in differences for name in ("hybrid_norm = true", "value_residual = true"))
    assert all(f"{name} -> " in replaced for name in ("CometLogger", "Compile", "Checkpoint", "SaveConfig"))

    main(["fit", f"--name=MUON-{form}", "--ckpt_path=last", "--trainer.max_epochs=2"])
    captured = capsys.readouterr()
    assert "continuing from" in captured.out
    assert "left out" not in captured.err
    assert torch.load(run / "ckpts/last.ckpt", weights_only=True)["epoch"] == 1
    main(["predict", f"--name=MUON-{form}"])
    assert (run / "predictions.h5").is_file()


@pytest.mark.parametrize("folders", [True, False])
def test_dummy_data_are_simulated(
    folders: bool, workplace: Path, tiny: list[str], capsys: pytest.CaptureFixture
) -> None:
    config = yaml.safe_load((DATA / "hepattn_fork.yaml").read_text())
    config["data"]["dummy_data"] = True
    if not folders:
        config["data"] = {name: value for name, value in config["data"].items() if not name.endswith("_dir")}
    Path("dummy.yaml").write_text(yaml.safe_dump(config))
    main(["fit", "--config=dummy.yaml", *tiny, *SHORT[len(FOLDERS) :]])
    assert "replaced: data.dummy_data -> simulated events" in capsys.readouterr().err
    run = workplace / "runs/MUON-fork/version_0"
    stored = yaml.safe_load((run / "config.yaml").read_text())["data"]
    assert [stored[f"{part}_dir"] for part in ("train", "val", "test")] == ["data/train", "data/val", "data/test"]
    assert json.loads((run / "results.json").read_text())["events"] == 24


def test_results_of_a_hit_filter_are_used(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    config = yaml.safe_load((DATA / "hepattn_fork.yaml").read_text())
    kept: dict[str, list[int]] = {}
    Path("filter").mkdir()
    for part in ("train", "val", "test"):
        with h5py.File(f"data/{part}/data/events_0000.h5") as events, h5py.File(f"filter/{part}.h5", "w") as file:
            for event, number in enumerate(events["num_hits"][:]):
                probability = np.random.default_rng(event).random((1, number))
                file[f"{event}/preds/final/hit_filter/hit_on_valid_particle_prob"] = probability
                kept.setdefault(part, []).append(int((probability >= 0.3).sum()))
        config["data"][f"hit_eval_{part}"] = f"filter/{part}.h5"
    config["data"]["hit_filter_threshold"] = 0.3
    Path("theirs.yaml").write_text(yaml.safe_dump(config))
    Path("filter/val.h5").rename("elsewhere.h5")
    with pytest.raises(SystemExit, match=r"^hitpool fit: file of filter results filter/val\.h5 does not exist"):
        main(["fit", "--config=theirs.yaml", *SHORT])
    assert not Path("runs").exists()
    Path("elsewhere.h5").rename("filter/val.h5")
    main(["fit", "--config=theirs.yaml", *SHORT, "--data.num_workers=1"])
    run = Path("runs/MUON-fork/version_0")
    stored = torch.load(run / "ckpts/last.ckpt", weights_only=True)["HitDataModule"]["batches"]
    assert stored["number of training hits"] == sum(kept["train"])
    main(["fit", "--name=MUON-fork", "--checkpoint=last", "--trainer.max_epochs=2"])
    main(["predict", "--name=MUON-fork"])
    with h5py.File(run / "predictions.h5") as file:
        widths = [file[f"{event}/preds/final/track_hit_valid/track_hit_valid"].shape[-1] for event in range(len(file))]
    assert widths == kept["test"]
    capsys.readouterr()
    Path("filter/test.h5").unlink()
    with pytest.raises(SystemExit, match=r"^hitpool test: file of filter results filter/test\.h5 does not exist"):
        main(["test", "--name=MUON-fork"])
    main(["test", "--name=MUON-fork", "--data.hit_eval_test=null"])


def test_settings_of_complete_configurations(capsys: pytest.CaptureFixture) -> None:
    upstream, _ = print_config(capsys, f"--config={DATA}/hepattn_upstream.yaml")
    fork, _ = print_config(capsys, f"--config={DATA}/hepattn_fork.yaml")
    for config, fields in ((upstream, 18), (fork, 23)):
        arguments = config["model"]["model"]["init_args"]
        decoder = arguments["decoder"]["init_args"]
        assert len(config["data"]["inputs"]["hit"]) == fields
        assert (config["data"]["max_particles"], decoder["num_queries"], decoder["num_decoder_layers"]) == (2, 2, 2)
        assert (decoder["mask_attention"], decoder["decoder_layer_config"]["norm"]) == (True, "RMSNorm")
        assert arguments["input_nets"]["init_args"]["modules"][0]["init_args"]["posenc"]["init_args"]["alpha"] == 1000
        assert (config["model"]["optimizer"], config["model"]["lrs_config"]["initial"]) == ("Lion", 1e-5)
        assert (config["trainer"]["precision"], config["trainer"]["gradient_clip_val"]) == ("bf16-mixed", 0.1)
    assert upstream["model"]["lrs_config"]["max"] == 5e-5
    factor = "--data.scale_factors.spacePoint_stationIndex"
    config, notices = print_config(capsys, f"--config={DATA}/hepattn_fork.yaml", factor, "1")
    assert f"{factor} 1)" in notices
    assert config["data"]["scale_factors"] == fork["data"]["scale_factors"] | {"spacePoint_stationIndex": 1}
    assert fork["model"]["lrs_config"]["max"] == 1e-4
    assert upstream["model"]["model"]["init_args"]["encoder"]["init_args"]["norm"] == "RMSNorm"
    assert fork["model"]["model"]["init_args"]["encoder"]["init_args"]["norm"] == "LayerNorm"


def test_the_form_with_classes_for_the_sections_gives_the_same(capsys: pytest.CaptureFixture) -> None:
    file = DATA / "hepattn_upstream.yaml"
    text = file.read_text().replace("hepattn.models.task.", "hepattn.models.tasks.")
    config = yaml.safe_load(text.replace("hepattn.models.Encoder", "hepattn.components.Encoder"))
    network = config["model"]["model"]["init_args"]
    del network["dim"]
    network["decoder"]["tasks"] = network.pop("tasks")
    rate = {"max_lr": 5e-5, "pct_start": 0.05, "div_factor": 5.0, "final_div_factor": 1.0}
    wrapper = {
        "model": config["model"]["model"],
        "optimizer": {"class_path": "lion_pytorch.Lion", "init_args": {"lr": 1e-5, "weight_decay": 1e-5}},
        "lr_scheduler": {"class_path": "hepattn.utils.schedulers.OneCycleLR", "init_args": rate},
    }
    config["model"] = {"class_path": "hepattn.experiments.atlas_muon.models.TrackMLTracker", "init_args": wrapper}
    config["data"] = {"class_path": "hepattn.experiments.atlas_muon.AtlasMuonDataModule", "init_args": config["data"]}
    Path("newer.yaml").write_text(yaml.safe_dump(config))
    assert print_config(capsys, "--config=newer.yaml")[0] == print_config(capsys, f"--config={file}")[0]


def test_overrides_reach_translated_files(capsys: pytest.CaptureFixture) -> None:
    options = ["--model.model.tasks.2.loss_weight=3", "--model.model.tasks.1.losses={mask_focal: 2.0}"]
    options += ["--model.model.encoder.num_heads=4", "--trainer.callbacks.0.filename=p.h5", "--name=mine"]
    config, notices = print_config(capsys, f"--config={DATA}/hepattn_upstream.yaml", *options)
    arguments = config["model"]["model"]["init_args"]
    modules = arguments["tasks"]["init_args"]["modules"]
    assert (modules[2]["init_args"]["loss_weight"], modules[1]["init_args"]["losses"]) == (3, {"mask_focal": 2.0})
    assert (arguments["encoder"]["init_args"]["num_heads"], config["name"]) == (4, "mine")
    assert config["trainer"]["callbacks"][0]["init_args"]["filename"] == "p.h5"
    assert "sorter" in notices
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    again, notices = print_config(capsys, "--config=mine.yaml")
    assert (again, notices) == (config, "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "models.Encoder",
            "models.MambaEncoder",
            "mine.yaml: model.model.encoder.class_path: hitpool has no",
        ),
        ("models.MaskFormer", "models.HitFilter", "no equal of hepattn.models.HitFilter; it knows MaskFormer\n"),
        (
            "callbacks.SaveConfig",
            "callbacks.Metadata",
            "no equal of hepattn.callbacks.Metadata; it knows AttnMaskLogger, ",
        ),
        ("num_layers", "num_layerz", "Encoder has no option 'num_layerz' (did you mean 'num_layers'?)"),
        ("null_weight", "null_wait", "has no option 'null_wait' (did you mean 'null_weight'?)"),
        (
            "mask_bce",
            "mask_iou",
            "losses ['mask_iou'] do not exist; choose from ['mask_bce', 'mask_dice', 'mask_focal']",
        ),
        ("event_max_num_particles", "event_max", "does not accept option 'data.event_max'"),
        ("use_attn_masks", "use_attn_mask", "MaskFormer has no option 'use_attn_mask'"),
        (
            "default_root_dir",
            "default_root",
            "no option 'trainer.default_root' (did you mean 'trainer.default_root_dir'?)",
        ),
        ("mtl: false", "mtl: true", "mine.yaml: model.mtl is true"),
    ],
)
def test_what_is_not_known_is_an_error(old: str, new: str, message: str, capsys: pytest.CaptureFixture) -> None:
    text = (DATA / "hepattn_fork.yaml").read_text()
    assert old in text
    Path("mine.yaml").write_text(text.replace(old, new))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config=mine.yaml", *FOLDERS])
    assert message in f"{stop.value.code}\n{capsys.readouterr().err}"
    assert not Path("runs").exists()


def test_what_their_command_line_adds_to_a_saved_configuration_is_left_out(capsys: pytest.CaptureFixture) -> None:
    text = (DATA / "hepattn_fork.yaml").read_text()
    added = "optimizer: null\nlr_scheduler: null\nreturn_predictions: null\nckpt_path: null\nmatmul_precision: high\n"
    Path("saved.yaml").write_text(f"{text}\n{added}")
    saved, notices = print_config(capsys, "--config=saved.yaml")
    plain = print_config(capsys, f"--config={DATA}/hepattn_fork.yaml")[0]
    assert plain["matmul_precision"] == "highest"
    assert saved == plain | {"matmul_precision": "high"}
    assert "matmul_precision" not in notices


def test_a_file_that_changes_another_one_is_not_the_first(capsys: pytest.CaptureFixture) -> None:
    change = {"model": {"model": {"init_args": {"decoder": {"num_decoder_layers": 1}}}}}
    Path("change.yaml").write_text(yaml.safe_dump(change))
    with pytest.raises(
        SystemExit, match=r"^hitpool fit: change\.yaml: model\.model has init_args and no class_path: name"
    ):
        main(["fit", "--config=change.yaml", *FOLDERS])
    config, _ = print_config(capsys, "--config=muon.yaml", "--config=change.yaml")
    assert config["model"]["model"]["init_args"]["decoder"]["init_args"]["num_decoder_layers"] == 1


def test_data_of_other_experiments_are_refused_in_one_line() -> None:
    config = yaml.safe_load((DATA / "hepattn_fork.yaml").read_text())
    config["data"] |= {"particle_min_pt": 0.6, "hit_volume_ids": [7, 8, 9], "scale_dict_path": "scales.yaml"}
    Path("other.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    options = "'data.particle_min_pt', 'data.hit_volume_ids', 'data.scale_dict_path'"
    with pytest.raises(SystemExit, match=rf"^hitpool fit: other.yaml: .* does not accept option {options}; it has .*$"):
        main(["fit", "--config=other.yaml", *FOLDERS])
    assert not Path("runs").exists()


def test_help_works_with_a_configuration_of_hepattn(capsys: pytest.CaptureFixture) -> None:
    shutil.copy(DATA / "hepattn_fork.yaml", "theirs.yaml")
    main(["fit", "--config=theirs.yaml", "--help"])
    assert capsys.readouterr().out.startswith("usage: hitpool")
