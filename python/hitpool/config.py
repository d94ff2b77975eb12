"""Configurations: find, check, build the objects, rebuild a trained model."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer


def find(name: str | Path) -> Path:
    """Path of a configuration: a file, or the name of one that comes with the package, such as `muon.yaml`.

    Raises:
        FileNotFoundError: If there is neither, with the packaged names.

    Example:
        >>> find("muon.yaml").name
        'muon.yaml'
    """
    if Path(name).is_file():
        return Path(name)
    packaged = {path.name: path for path in Path(str(resources.files("hitpool") / "configs")).glob("*.yaml")}
    if str(name) in packaged:
        return packaged[str(name)]
    raise FileNotFoundError(f"no configuration file {name}; packaged configurations: {', '.join(sorted(packaged))}")


def read(path: Path) -> dict[str, Any]:
    """Contents of a YAML file.

    Raises:
        ValueError: If it does not hold a mapping.
    """
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys and values (name, data, trainer, model), got {type(content).__name__}")
    return content


def name(files: Iterable[Path]) -> str:
    """`name` of a training from its configuration files, of which the last that has one counts."""
    names = [content["name"] for content in map(read, files) if content.get("name")]
    return names[-1] if names else "hitpool"


@dataclass
class Objects:
    """What a configuration describes.

    Args:
        model: The LightningModule; `model.model` is the network.
        datamodule: Reads the events.
        trainer: Lightning trainer with loggers and callbacks.
        config: The resolved configuration.
    """

    model: "LightningModule"
    datamodule: "LightningDataModule"
    trainer: "Trainer"
    config: dict[str, Any]


def load(path: str | Path, overrides: dict[str, Any] | None = None) -> Objects:
    """Builds the objects of a configuration, as the command line does, but runs nothing.

    Args:
        path: A file, or the name of a packaged configuration.
        overrides: Dotted paths and their values, e.g. `{"data.batch_size": 50, "model.model.tasks.2.loss_weight": 2}`.

    Raises:
        FileNotFoundError: If the configuration does not exist.
        ValueError: If it has unknown keys, wrong values or parts that do not fit together.
    """
    from hitpool.training.arguments import interpret
    from hitpool.training.interface import TrainingCLI

    options = [f"--config={path}"]
    for key, value in (overrides or {}).items():
        options.append(f"--{key}={value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)}")
    cli = TrainingCLI(interpret(None, options))
    return Objects(cli.model, cli.datamodule, cli.trainer, cli.settings)


def load_checkpoint(checkpoint: str | Path) -> Objects:
    """Rebuilds a trained model from a checkpoint and the `config.yaml` of its run directory.

    Args:
        checkpoint: A file in the folder `ckpts` of a run directory.

    Returns:
        As `load`, with the weights of the checkpoint and the model in evaluation mode.

    Raises:
        FileNotFoundError: If the checkpoint or its configuration does not exist.
    """
    import torch

    checkpoint = Path(checkpoint)
    stored = checkpoint.absolute().parent.parent / "config.yaml"
    for file in (checkpoint, stored):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; expected <run>/config.yaml and <run>/ckpts/<name>.ckpt")
    objects = load(stored)
    objects.model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    objects.model.eval()
    return objects


def check(config: dict[str, Any]) -> None:
    """Checks that the parts of a configuration fit together, before any data is simulated or read.

    Args:
        config: A resolved configuration as plain dictionaries and lists.

    Raises:
        ValueError: If a model asks for a hit field or target that the data does not list, or has another number of
            queries than the data has particle slots. The message says what to change.
    """
    data = config["data"]
    network = _arguments(config["model"]["model"])
    inputs = {key: fields for key, fields in data["inputs"].items()}
    targets = {key: fields for key, fields in data["targets"].items()}
    for index, net in enumerate(_modules(network.get("input_nets"))):
        _check_fields(f"model.model.input_nets.{index}.fields", net.get("fields"), "data.inputs", inputs)
    for index, task in enumerate(_modules(network.get("tasks"))):
        path = f"model.model.tasks.{index}"
        _check_fields(f"{path}.hit_fields", task.get("hit_fields"), "data.inputs", inputs)
        _check_fields(f"{path}.fields", task.get("fields"), "data.targets", targets)
        _check_fields(f"{path}.inverse_fields", task.get("inverse_fields"), f"{path}.fields", {"": task.get("fields")})
    queries = _arguments(network.get("decoder") or {}).get("num_queries")
    slots = data.get("max_particles")
    if queries is not None and slots is not None and queries != slots:
        raise ValueError(
            f"model.model.decoder.num_queries is {queries} and data.max_particles is {slots}: set both to the largest"
            " number of particles in an event"
        )


def _check_fields(where: str, fields: list[str] | None, source: str, available: dict[str, list[str]]) -> None:
    known = {field for listed in available.values() for field in listed or ()}
    missing = [field for field in fields or () if field not in known]
    if missing:
        lists = [f"{source}.{key}" if key else source for key in available]
        raise ValueError(
            f"{where} has {missing}, but {' and '.join(lists)} has only {sorted(known)}: add them to"
            f" {' or '.join(lists)}, or remove them from {where}"
        )


def _arguments(module: dict[str, Any]) -> dict[str, Any]:
    return module.get("init_args") or {} if "class_path" in module else module


def _modules(container: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [_arguments(module) for module in _arguments(container or {}).get("modules") or ()]
