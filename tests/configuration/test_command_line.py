import re
from pathlib import Path

import pytest
import torch
import yaml

from hitpool.configuration.command_line import interpret
from hitpool.configuration.files import find


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(name: str, version: int, checkpoints: tuple[str, ...] = ("best", "last")) -> Path:
    run = Path("runs", name, f"version_{version}")
    (run / "ckpts").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"name": name, "version": version}))
    for checkpoint in checkpoints:
        torch.save({"state_dict": {}}, run / "ckpts" / f"{checkpoint}.ckpt")
    return run


def test_default_is_the_packaged_muon_configuration() -> None:
    arguments = interpret("fit", ["--data.batch_size", "7"])
    packaged = yaml.safe_load(find("muon.yaml").read_text())
    assert arguments.config == packaged | {"runs": "runs"}
    assert arguments.folder == Path("runs/muon")
    assert (arguments.run, arguments.checkpoint, arguments.notice) == (None, None, "")
    assert arguments.options == ["--data.batch_size", "7"]


def test_file_comes_before_a_packaged_name() -> None:
    assert interpret("fit", ["--config", "muon_seed.yaml"]).folder == Path("runs/muon_seed")
    Path("muon_seed.yaml").write_text("name: mine")
    assert interpret("fit", ["--config=muon_seed.yaml"]).folder == Path("runs/mine")
    assert interpret("fit", ["--config=muon_seed.yaml", "--name", "other", "--runs=r"]).folder == Path("r/other")


@pytest.mark.parametrize("name", ["", ".", "..", "a/../../b", "a/b", "a/", "/a", "-a", "a\0b"])
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_name_stays_in_the_folder_of_runs(command: str, name: str, empty_folder: Path) -> None:
    message = re.escape(f"name: expected that of one folder in r, without '/' and no '-' in front, got {name!r}")
    with pytest.raises(ValueError, match=message):
        interpret(command, [f"--name={name}", "--runs=r"])
    Path("own.yaml").write_text(yaml.safe_dump({"name": name}))
    with pytest.raises(ValueError, match=message):
        interpret(command, ["--config=own.yaml", "--runs=r"])
    assert [path.name for path in empty_folder.iterdir()] == ["own.yaml"]


@pytest.mark.parametrize("name", ["...", "a b", "ähm", "version_0", ".a"])
def test_any_name_of_a_folder_is_a_name(name: str) -> None:
    assert interpret("fit", [f"--name={name}"]).folder == Path("runs") / name


def test_missing_configuration_lists_the_packaged_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.yaml.*muon\.yaml, muon_query\.yaml, muon_seed\.yaml"):
        interpret("fit", ["--config", "nope.yaml"])


def test_last_continues_the_newest_run_with_its_configuration() -> None:
    make_run("muon", 9)
    run = make_run("muon", 10)
    make_run("other", 11)
    arguments = interpret("fit", ["--ckpt_path", "last", "--trainer.max_epochs=3"])
    assert (arguments.run, arguments.checkpoint) == (run, run / "ckpts" / "last.ckpt")
    assert arguments.config["version"] == 10
    assert arguments.options == ["--trainer.max_epochs=3"]
    assert arguments.config["ckpt_path"] == str(run / "ckpts" / "last.ckpt")
    assert "continuing" in arguments.notice


def test_last_without_checkpoint_starts_from_the_beginning_in_the_same_run() -> None:
    arguments = interpret("fit", ["--ckpt_path=last"])
    assert (arguments.run, arguments.checkpoint) == (None, None)
    assert "from the beginning" in arguments.notice
    run = make_run("muon", 1, checkpoints=())
    arguments = interpret("fit", ["--ckpt_path=last"])
    assert (arguments.run, arguments.checkpoint) == (run, None)
    assert arguments.config["version"] == 1
    assert "from the beginning" in arguments.notice
    (run / "config.yaml").unlink()  # killed before it was written
    arguments = interpret("fit", ["--ckpt_path=last"])
    assert (arguments.run, arguments.config["trainer"]["max_epochs"]) == (run, 8)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_run_without_checkpoint_does_not_hide_an_older_one(command: str) -> None:
    run = make_run("muon", 0)
    make_run("muon", 1, checkpoints=())
    arguments = interpret(command, ["--ckpt_path=last"])
    assert (arguments.run, arguments.checkpoint) == (run, run / "ckpts" / "last.ckpt")
    assert arguments.notice.startswith("runs/muon/version_1 has no checkpoint; ")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_best_is_the_default_after_training(command: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no run.*hitpool fit"):
        interpret(command, [])
    interpret(command, ["--help"])
    make_run("muon", 0, checkpoints=("last",))
    with pytest.raises(FileNotFoundError, match=r"version_0 has no best\.ckpt"):
        interpret(command, ["--ckpt_path=best"])
    arguments = interpret(command, [])
    assert arguments.checkpoint == Path("runs/muon/version_0/ckpts/last.ckpt")
    assert "has no best.ckpt, there was no validation; using" in arguments.notice
    assert interpret(command, ["--ckpt_path=last"]).checkpoint == Path("runs/muon/version_0/ckpts/last.ckpt")
    run = make_run("muon", 1)
    assert interpret(command, []).checkpoint == run / "ckpts" / "best.ckpt"


def test_checkpoint_file_brings_its_run() -> None:
    run = make_run("muon", 4).absolute()
    arguments = interpret("test", [f"--ckpt_path={run}/ckpts/best.ckpt"])
    assert arguments.run == run
    assert arguments.config["version"] == 4
    with pytest.raises(FileNotFoundError, match=r"nothing\.ckpt does not exist"):
        interpret("test", ["--ckpt_path=nothing.ckpt"])


def test_list_entries_are_set_by_index() -> None:
    content = {
        "name": "mine",
        "model": {
            "class_path": "Model",
            "init_args": {
                "tasks": {
                    "class_path": "torch.nn.ModuleList",
                    "init_args": {
                        "modules": [
                            {"class_path": "A", "init_args": {"weight": 1.0}},
                            {"class_path": "B", "init_args": {"fields": ["x", "y"]}},
                        ]
                    },
                }
            },
        },
    }
    Path("mine.yaml").write_text(yaml.safe_dump(content))
    options = ["--config=mine.yaml", "--model.tasks.0.weight", "0.5", "--model.tasks.1.fields.1=z"]
    options.append("--model.init_args.tasks.init_args.modules.1.init_args.new=[1, 2]")
    arguments = interpret("fit", options)
    modules = arguments.config["model"]["init_args"]["tasks"]["init_args"]["modules"]
    assert modules[0] == {"class_path": "A", "init_args": {"weight": 0.5}}
    assert modules[1] == {"class_path": "B", "init_args": {"fields": ["x", "z"], "new": [1, 2]}}
    assert (arguments.options, arguments.config["name"], arguments.config["runs"]) == ([], "mine", "runs")
    for path in ("tasks.2", "init_args.tasks.init_args.modules.2"):
        with pytest.raises(ValueError, match=r"there is no '2'; the configuration has a list of 2"):
            interpret("fit", ["--config=mine.yaml", f"--model.{path}.weight=1"])
    with pytest.raises(ValueError, match="expected a value"):
        interpret("fit", ["--config=mine.yaml", "--model.tasks.0.weight"])


def test_options_go_into_a_class_that_another_option_names() -> None:
    Path("mine.yaml").write_text("name: mine\nmodel: {tasks: [{class_path: A, init_args: {fit: null, width: 3}}]}")
    options = ["--model.tasks.0.fit", "my.Fit", "--model.tasks.0.fit.field=2.0"]
    arguments = interpret("fit", ["--config=mine.yaml", *options])
    expected = {"class_path": "my.Fit", "init_args": {"field": 2.0}}
    assert arguments.config["model"]["tasks"][0]["init_args"]["fit"] == expected
    with pytest.raises(ValueError, match=r"--model.tasks.0.width.x: width is 3 and has no parts"):
        interpret("fit", ["--config=mine.yaml", "--model.tasks.0.width.x=1"])


def test_later_configurations_win() -> None:
    Path("a.yaml").write_text("name: a\nmodel: {class_path: A, init_args: {x: 1, list: [1, 2]}}")
    Path("b.yaml").write_text("name: b\nmodel: {init_args: {x: 2}}")
    Path("c.yaml").write_text("model: {class_path: C, init_args: {list: [5]}}")
    merged = interpret("fit", ["--config=a.yaml", "--config=b.yaml", "--model.list.0=7"]).config
    assert (merged["name"], merged["model"]) == ("b", {"class_path": "A", "init_args": {"x": 2, "list": [7, 2]}})
    merged = interpret("fit", ["--config=a.yaml", "--config=c.yaml", "--model.list.0=7"]).config
    assert (merged["name"], merged["model"]) == ("a", {"class_path": "C", "init_args": {"list": [7]}})
