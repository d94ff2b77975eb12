"""A checkpoint brings its configuration, which brings no code."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hitpool.cli import main
from hitpool.config import load, load_checkpoint
from hitpool.configuration import UntrustedError, check_trusted
from hitpool.configuration.command_line import interpret
from hitpool.configuration.stored import KEY
from hitpool.weights import CheckpointError

OWN_CODE = """\
from pathlib import Path

import torch

Path("own_code_ran").touch()

class Net(torch.nn.Module):
    tasks = ()
"""
COMMANDS = ("fit", "validate", "test", "predict")


class Touch:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("own_code_ran"),)


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    """What a checkpoint of the default model with random weights holds."""
    objects = load("muon.yaml", {"model.model.tasks.2.standardize": False})
    state = {"state_dict": objects.model.state_dict(), "global_step": 1, "pytorch-lightning_version": "2.6.0"}
    return state | {KEY: objects.config}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory of somebody who has a module `hostile`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("hostile.py").write_text(OWN_CODE)


def write(content: dict[str, Any], path: str = "best.ckpt") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return Path(path)


def changed(trained: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The checkpoint with another value in its configuration."""
    config = copy.deepcopy(trained[KEY])
    node, *keys = config, *path.split(".")
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    return trained | {KEY: config}


def test_a_checkpoint_alone_gives_the_network_and_nothing_else(
    trained: dict[str, Any], capfd: pytest.CaptureFixture
) -> None:
    torch.manual_seed(7)
    objects = load_checkpoint(write(trained))
    assert capfd.readouterr() == ("", "")
    assert (torch.initial_seed(), objects.trainer, objects.model.training) == (7, None, False)
    assert objects.config == trained[KEY]
    assert all(torch.equal(value, trained["state_dict"][key]) for key, value in objects.model.state_dict().items())
    assert {path.name for path in Path().iterdir()} == {"best.ckpt", "hostile.py"}


def test_a_checkpoint_alone_is_exported(trained: dict[str, Any]) -> None:
    main(["export", f"--checkpoint={write(trained)}", "--output=model.pt"])
    assert Path("model.pt").is_file()


def test_a_checkpoint_without_a_configuration_has_that_of_its_run(trained: dict[str, Any]) -> None:
    checkpoint = write(trained, "run/ckpts/best.ckpt")
    Path("run/config.yaml").write_text(yaml.safe_dump(trained[KEY] | {"name": "of_the_run"}))
    assert load_checkpoint(checkpoint).config["name"] == "muon"
    assert interpret("test", [f"--ckpt_path={checkpoint}"]).config["model"] == trained[KEY]["model"]
    del (content := dict(trained))[KEY]
    write(content, "run/ckpts/best.ckpt")
    assert load_checkpoint(checkpoint).config["name"] == "of_the_run"
    Path("run/config.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"run/config\.yaml does not exist, and checkpoint .* holds no conf"):
        load_checkpoint(checkpoint)
    write(content | {KEY: "model"}, "run/ckpts/best.ckpt")
    with pytest.raises(CheckpointError, match=f"{KEY}: expected the sections of a configuration, got str"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_checkpoint_alone_is_enough_for_each_command(trained: dict[str, Any], command: str) -> None:
    checkpoint = write(changed(trained, "name", "mine"), "mail/best.ckpt")
    arguments = interpret(command, [f"--ckpt_path={checkpoint}", "--data.batch_size=3"])
    assert (arguments.checkpoint, arguments.run, arguments.folder) == (checkpoint, None, Path("runs/mine"))
    assert arguments.config == trained[KEY] | {"name": "mine", "ckpt_path": str(checkpoint)}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.model", {"class_path": "hostile.Net"}),
        ("model.model", "hostile.Net"),
        ("model.model.init_args.matcher", {"class_path": "hostile.Net", "init_args": {}}),
        ("model.model.init_args.encoder.init_args.dropout", ["hostile.Net"]),
        ("data.train_dir", "hostile.Net"),
        ("model.model", "{class_path: hitpool.nn.MaskFormer, class_path: hostile.Net}"),
        ("model.model", "'{class_path: hostile.Net}' # a text in a text"),
    ],
)
def test_a_hostile_checkpoint_runs_no_code(trained: dict[str, Any], path: str, value: Any) -> None:
    checkpoint = write(changed(trained, path, value))
    with pytest.raises(UntrustedError, match=r"best\.ckpt names .*hostile\.Net; only classes of hitpool, .* --trust"):
        load_checkpoint(checkpoint)
    for command in ("evaluate", "export"):
        with pytest.raises(SystemExit, match=rf"hitpool {command}: .*names .*: hostile\.Net"):
            main([command, f"--checkpoint={checkpoint}", "--output=x.pt"])
    for command in COMMANDS:
        with pytest.raises(UntrustedError, match=r"hostile\.Net"):
            interpret(command, [f"--ckpt_path={checkpoint}"])
    assert not Path("own_code_ran").exists()


def test_trust_runs_the_code_of_a_checkpoint(trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "hostile", raising=False)
    checkpoint = write(changed(trained, "model.model", {"class_path": "hostile.Net"}))
    for command in COMMANDS:
        assert interpret(command, [f"--ckpt_path={checkpoint}", "--trust"]).trusted
    with pytest.raises(SystemExit, match="does not fit the model"):
        main(["export", f"--checkpoint={checkpoint}", "--output=x.pt", "--trust"])
    assert Path("own_code_ran").exists()


def test_the_configuration_of_a_hostile_run_runs_no_code(trained: dict[str, Any]) -> None:
    content = changed(trained, "trainer.callbacks", [{"class_path": "hostile.Net"}])
    config = content.pop(KEY)
    checkpoint = write(content, "runs/muon/version_0/ckpts/last.ckpt")
    Path("runs/muon/version_0/config.yaml").write_text(yaml.safe_dump(config))
    for command in COMMANDS:
        with pytest.raises(UntrustedError, match=r"version_0/config\.yaml names trainer\.callbacks\.0: hostile\.Net"):
            interpret(command, ["--ckpt_path=last"])
    load_checkpoint(checkpoint)  # builds no callbacks
    assert not Path("own_code_ran").exists()


def test_what_the_user_names_is_trusted(trained: dict[str, Any]) -> None:
    checkpoint = write(changed(trained, "model.model", {"class_path": "hostile.Net"}))
    Path("mine.yaml").write_text("model: {model: {class_path: hostile.Net}}")
    for options in (["--config=mine.yaml"], ["--model.model", "hostile.Net"], ["--model.model=hostile.Net"]):
        assert interpret("fit", [f"--ckpt_path={checkpoint}", *options]).checkpoint == checkpoint
    with pytest.raises(UntrustedError, match=r"hostile\.Net"):
        interpret("fit", [f"--ckpt_path={checkpoint}", "--model.model=hostile.Nets"])


def test_a_pickled_configuration_runs_no_code(trained: dict[str, Any]) -> None:
    checkpoint = write(changed(trained, "model.model", Touch()))
    with pytest.raises(CheckpointError, match="is refused: it holds objects of"):
        load_checkpoint(checkpoint)
    assert not Path("own_code_ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "hitpool.cli.os.system",
        "hitpool.cli.main",
        "torch.nn.functional.torch.load",
        "torch.nn.Nothing",
        "torch.nnx.Linear",
        "torch.hub.load",
        "Linear",
        "",
    ],
)
def test_only_classes_of_the_allowed_packages_are_classes(name: str) -> None:
    with pytest.raises(UntrustedError, match=rf"^the configuration of a\.ckpt names model\.nets\.0\.net: {name};"):
        check_trusted({"model": {"nets": [{"net": {"class_path": name}}]}}, Path("a.ckpt"))


@pytest.mark.parametrize("section", ["trainer", "model", "data"])
def test_a_section_is_not_read_from_another_file(section: str) -> None:
    with pytest.raises(UntrustedError, match=rf"^the configuration of a\.ckpt names {section}: /tmp/other_file;"):
        check_trusted({section: "/tmp/other_file"}, Path("a.ckpt"))


def test_what_is_allowed_is_not_refused() -> None:
    classes = ["hitpool.nn.Dense", "torch.nn.Linear", "torch.optim.AdamW", "lightning.pytorch.callbacks.Timer"]
    texts = ["predictions.h5", "muons.pt", "data/train", "0.5", "a.b c", *classes]
    check_trusted({"callbacks": [{"class_path": name} for name in classes], "texts": texts}, Path("a.ckpt"))
    with pytest.raises(UntrustedError, match=r"texts\.1: subprocess\.run"):
        check_trusted({"texts": ["a.b", "subprocess.run"]}, Path("a.ckpt"))
