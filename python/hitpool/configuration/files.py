"""Configuration files: find and read them, those of hepattn as hitpool's."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import yaml

from hitpool.configuration.diagnosis import has
from hitpool.configuration.earlier import update
from hitpool.configuration.fragments import tasks_alone
from hitpool.configuration.hepattn import translation, uses_hepattn
from hitpool.configuration.hepattn.sections import ORIGINAL_SCALE_FACTORS
from hitpool.data.names import suggestion
from hitpool.muon import HIGH_EDGE, LOW_EDGE


class _Loader(yaml.SafeLoader):
    """Reads 1e-5 as a number and 2026-01-01 as text; YAML 1.1 takes the first for text and the second for a date."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

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


@dataclass
class Source:
    """A configuration as a file holds it.

    Args:
        path: The file, or the checkpoint.
        content: What it says in hitpool's terms; empty if it holds tasks alone.
        tasks: Its tasks, if it holds tasks alone.
        notices: What the user should know about it, a line each.
        moved: Paths in a configuration, and those in the file of what stands elsewhere there.
    """

    path: Path
    content: dict[str, Any]
    tasks: list[dict[str, Any]] | None = None
    notices: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)

    def says(self, path: str) -> bool:
        """Whether it is the file that says what is at a path.

        Args:
            path: Keys and indices with dots.
        """
        return has(self.content, path) or any(f"{path}.".startswith(f"{ours}.") for ours in self.moved)


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
    known = packaged()
    if str(name) in known:
        return known[str(name)]
    near = suggestion(str(name), [*known, *map(str, Path(name).parent.glob("*.yaml"))])
    raise FileNotFoundError(f"no configuration file {name}{near}; packaged configurations: {', '.join(known)}")


def packaged() -> dict[str, Path]:
    """Name and path of the configurations that come with the package."""
    return {path.name: path for path in sorted(Path(str(resources.files("hitpool") / "configs")).glob("*.yaml"))}


def load_yaml(text: str) -> Any:
    """What a text in YAML says.

    Raises:
        YAMLError: If it is not YAML.
    """
    return yaml.load(text, Loader=_Loader)


def read(path: Path) -> Source:
    """Reads a YAML file; a configuration of hepattn becomes one of hitpool.

    Raises:
        ValueError: If it is not YAML, holds neither a mapping nor tasks, or something of hepattn that hitpool has no
            equal of.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = load_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as YAML: {_where_and_what(error)}") from error
    try:
        update(content)
        tasks = tasks_alone(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if tasks is None and not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys and values (name, data, trainer, model), got {type(content).__name__}")
    if text.startswith("# hitpool 0.1."):
        _state_scale_factors(content)
    source = Source(path, {}, tasks) if tasks else Source(path, content)
    if uses_hepattn(content):
        import torch

        gpu = torch.cuda.is_available()
        try:
            if tasks:
                translated, said = translation({"tasks": tasks}, gpu)
                source.tasks = translated["tasks"]
            else:
                source.content, said = translation(content, gpu)
                _check_data_options(source.content.get("data"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        source.notices = [f"{path.name}: {line}" for line in said.lines()]
        source.moved = said.moved
    return source


def _state_scale_factors(config: Any) -> None:
    """Adds to the configuration of a run the factors by which version 0.1 scaled muon columns if none were given."""
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or data.get("scale_factors", {}) is not None:
        return
    fields = {field for names in (data.get("inputs") or {}).values() for field in names or []}
    if any(field.startswith("spacePoint_") for field in fields):
        fields |= {*HIGH_EDGE, *LOW_EDGE}
        data["scale_factors"] = {name: factor for name, factor in ORIGINAL_SCALE_FACTORS.items() if name in fields}


def _where_and_what(error: Any) -> str:
    """Line, column and problem of a YAML file, without the quotation."""
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}" if mark else str(error)


def _check_data_options(data: Any) -> None:
    """Refuses the options of other experiments' data modules."""
    from hitpool.data import HitDataModule

    known = inspect.signature(HitDataModule).parameters
    names = [*known, "event_max_num_particles"]
    if unknown := [f"'data.{name}'{suggestion(name, names)}" for name in data or {} if name not in known]:
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
