"""Configuration files: find, read, check that their parts fit together."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml


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


def training_name(files: Iterable[Path]) -> str:
    """`name` of a training from its configuration files, of which the last that has one counts."""
    names = [content["name"] for content in map(read, files) if content.get("name")]
    return names[-1] if names else "hitpool"


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
    for index, net in enumerate(_modules(network.get("input_nets"))):
        path = f"model.model.input_nets.{index}"
        _check_fields(path, net, "fields", "input_name", "data.inputs", data["inputs"])
        posenc = _arguments(net.get("posenc") or {})
        _check_fields(f"{path}.posenc", posenc, "fields", "input_name", "data.inputs", data["inputs"])
    for index, task in enumerate(_modules(network.get("tasks"))):
        path = f"model.model.tasks.{index}"
        _check_fields(path, task, "hit_fields", "input_hit", "data.inputs", data["inputs"])
        _check_fields(path, task, "fields", "target_object", "data.targets", data["targets"])
    queries = _arguments(network.get("decoder") or {}).get("num_queries")
    slots = data.get("max_particles")
    if None not in (queries, slots) and queries != slots:
        raise ValueError(
            f"model.model.decoder.num_queries is {queries} and data.max_particles is {slots}: set both to the largest"
            " number of particles in an event"
        )


def _check_fields(
    path: str, module: dict[str, Any], option: str, owner: str, source: str, available: dict[str, list[str]]
) -> None:
    """Checks that `module[option]` is among the fields which `source` lists for the object `module[owner]`."""
    if not module.get(option):
        return
    name = module.get(owner)
    if name not in available:
        raise ValueError(f"{path}.{owner} is {name!r}, but {source} has {list(available)}: give both the same name")
    missing = [field for field in module[option] if field not in available[name]]
    if missing:
        raise ValueError(
            f"{path}.{option} names {', '.join(missing)}, which {source}.{name} does not list: add them to"
            f" {source}.{name}, or remove them from {path}.{option}"
        )


def _arguments(module: dict[str, Any]) -> dict[str, Any]:
    return module.get("init_args") or {} if "class_path" in module else module


def _modules(container: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [_arguments(module) for module in _arguments(container or {}).get("modules") or ()]
