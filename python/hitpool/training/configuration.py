"""Configuration files: find, read, check that their parts fit together."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from hitpool.data.names import similar
from hitpool.hepattn import translate, uses_hepattn
from hitpool.training.fragments import tasks_alone


class _Loader(yaml.SafeLoader):
    """Reads 1e-5 as a number, as the parser of the command line does; YAML 1.1 takes it for text."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Reads a mapping; of two equal keys, YAML would take the last without a word."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"the key '{key.value}' is there twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node


_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


FIT_FIELDS = ("high", "low", "radius", "radius_variance", "wire_variance", "technology")  # of ToroidFit
FIT_FIELDS += ("points", "first", "second", "variances", "hit_fields")  # of SolenoidFit and HelixFit
LEAST = {  # numbers for which Lightning trains something else, or divides by zero
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
}


@dataclass
class Source:
    """A configuration file.

    Args:
        path: The file.
        content: What it says in hitpool's terms; empty if it holds tasks alone.
        tasks: Its tasks, if it holds tasks alone.
        rewritten: Whether `content` is not what the file says word for word.
        notices: What the user should know about it, a line each.
    """

    path: Path
    content: dict[str, Any]
    tasks: list[dict[str, Any]] | None = None
    rewritten: bool = False
    notices: list[str] = field(default_factory=list)


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


def read(path: Path) -> Source:
    """Reads a YAML file; a configuration of hepattn becomes one of hitpool.

    Raises:
        ValueError: If it is not YAML, holds neither a mapping nor tasks, or something of hepattn that hitpool has no
            equal of.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as YAML: {_where_and_what(error)}") from error
    tasks = tasks_alone(content)
    if tasks is None and not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys and values (name, data, trainer, model), got {type(content).__name__}")
    source = Source(path, {}, tasks) if tasks else Source(path, content)
    if uses_hepattn(content):
        import torch

        gpu = torch.cuda.is_available()
        try:
            if tasks:
                translated, lines = translate({"tasks": tasks}, gpu)
                source.tasks = translated["tasks"]
            else:
                source.content, lines = translate(content, gpu)
                _check_data_options(source.content.get("data"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        source.rewritten = True
        source.notices = [f"{path.name}: {line}" for line in lines]
    return source


def _where_and_what(error: Exception) -> str:
    """Line, column and problem of a YAML file, without the quotation."""
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}" if mark else str(error)


def _check_data_options(data: Any) -> None:
    """Refuses the options of other experiments' data modules."""
    from hitpool.data import HitDataModule

    known = inspect.signature(HitDataModule).parameters
    if unknown := [f"'data.{name}'" for name in data or {} if name not in known]:
        raise ValueError(
            f"hitpool's data module does not accept option {', '.join(unknown)}; it has {', '.join(known)}, and reads"
            " data sets of other experiments when they are converted (hitpool data convert)"
        )


def training_name(sources: Iterable[Source]) -> str:
    """`name` of a training from its configuration files, of which the last that has one counts.

    Raises:
        ValueError: If a name is not text.
    """
    named = [source for source in sources if source.content.get("name") is not None]
    for source in named:
        if not isinstance(source.content["name"], str):
            raise ValueError(f"{source.path}: name: expected text, got {source.content['name']!r}")
    return named[-1].content["name"] if named else "hitpool"


def check(config: dict[str, Any]) -> None:
    """Checks that the parts of a configuration fit together, before any data is simulated or read.

    Args:
        config: A resolved configuration as plain dictionaries and lists.

    Raises:
        ValueError: If a number of the trainer makes no sense, a model asks for a hit field or target that the data
            does not list, or has another number of queries than the data has particle slots. The message says what
            to change.
    """
    trainer = config.get("trainer") or {}
    for option, least in LEAST.items():
        value = trainer.get(option)
        if value is not None and value < least:
            raise ValueError(f"trainer.{option}: expected at least {least}, got {value}")
    if trainer.get("val_check_interval") == 0:
        raise ValueError("trainer.val_check_interval: expected more than 0, got 0 (no validation: limit_val_batches 0)")
    _check_precision(trainer.get("precision"))
    data = config["data"]
    network = _arguments(config["model"]["model"])
    for index, net in enumerate(_modules(network.get("input_nets"))):
        path = f"model.model.input_nets.{index}"
        _check_fields(path, net, "fields", "input_name", "data.inputs", data["inputs"])
        posenc = _arguments(net.get("posenc") or {})
        posenc = posenc | {"angles": [field for pair in posenc.get("angles") or () for field in pair]}
        for option in ("fields", "angles"):
            _check_fields(f"{path}.posenc", posenc, option, "input_name", "data.inputs", data["inputs"])
    for index, task in enumerate(_modules(network.get("tasks"))):
        path = f"model.model.tasks.{index}"
        hits = "input_constituent" if task.get("input_constituent") else "input_hit"
        _check_fields(path, task, "hit_fields", hits, "data.inputs", data["inputs"])
        _check_fields(path, task, "fields", "target_object", "data.targets", data["targets"])
        fit = _arguments(task.get("track_fit") or {}) | {hits: task.get(hits)}
        for option in FIT_FIELDS:
            _check_fields(f"{path}.track_fit", fit, option, hits, "data.inputs", data["inputs"])
    queries = _arguments(network.get("decoder") or {}).get("num_queries")
    slots = data.get("max_particles")
    if None not in (queries, slots) and queries != slots:
        raise ValueError(
            f"model.model.decoder.num_queries is {queries} and data.max_particles is {slots}: set both to the largest"
            " number of particles in an event"
        )


def _check_precision(precision: Any) -> None:
    """Refuses what keeps no layer in float32."""
    if str(precision) not in ("None", "16", "32", "64", "bf16", "16-mixed", "bf16-mixed", "32-true", "64-true"):
        raise ValueError(
            f"trainer.precision is {precision}, in which hit coordinates are rounded (31 mm at 6 m in bfloat16): use"
            " bf16-mixed or 16-mixed, 32-true or 64-true"
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
    fields = [module[option]] if isinstance(module[option], str) else module[option]
    missing = [field for field in fields if field not in available[name]]
    if missing:
        others = [field for field in available[name] if field not in fields]
        pairs = [f"'{near}' for '{field}'" for field in missing if (near := similar(field, others))]
        misspelled = f" (it has {', '.join(pairs)}: is one misspelled?)" if pairs else ""
        listed = f" (it has {', '.join(others)})" if others and not pairs else ""
        raise ValueError(
            f"{path}.{option} names {', '.join(missing)}, which {source}.{name} does not list{misspelled}{listed}:"
            f" add them to {source}.{name}, or remove them from {path}.{option}"
        )


def _arguments(module: dict[str, Any]) -> dict[str, Any]:
    return module.get("init_args") or {} if "class_path" in module else module


def _modules(container: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [_arguments(module) for module in _arguments(container or {}).get("modules") or ()]
