"""Which classes a configuration may name that comes with a checkpoint: loading a model is not to run foreign code."""

import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader

from hitpool.configuration.hepattn.notices import short

ALLOWED = ("hitpool", "torch.nn", "torch.optim", "lightning.pytorch.callbacks", "lightning.pytorch.loggers")
SECTIONS = ("trainer", "model", "data")  # a text in place of one is the name of a file that holds it
OPTION: dict[str, Any] = {
    "action": "store_true",
    "help": "Let the checkpoint's configuration name any class, which may run any code.",
}

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


class UntrustedError(ValueError):
    """A configuration names what may run foreign code."""


def check_trusted(config: Mapping[str, Any], path: Path, said: str = "") -> None:
    """Checks that a configuration names no classes but those of the packages in `ALLOWED`, and what the user names.

    Whatever Python could import counts as named, in whatever place it stands, since the parser of the configuration
    imports a text where a class or a function is expected. Nothing else is imported here.

    Args:
        config: A configuration, or some of its sections.
        path: Where it comes from, for messages.
        said: Options and configurations of the user.

    Raises:
        UntrustedError: If it names anything else, with the place of each.
    """
    own = set(_DOTTED.findall(said))
    if found := [f"{short(place)}: {name}" for place, name in foreign(config) if name not in own]:
        raise UntrustedError(
            f"the configuration of {path} names {', '.join(found)}; only classes of {', '.join(ALLOWED)} are used "
            "without --trust (trust=True in Python), because others may run any code"
        )


def foreign(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Place and path of what a configuration names and is in none of the packages in `ALLOWED`, files included."""
    files = [(key, config[key]) for key in SECTIONS if isinstance(config.get(key), str)]
    return files + [(place, name) for place, name in _named(config, "") if not _allowed(name)]


def _named(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Place and path of each class, and of whatever else Python could import."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "class_path":
                yield place, str(value)
            else:
                yield from _named(value, f"{place}.{key}" if place else str(key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _named(value, f"{place}.{index}")
    elif isinstance(node, str):
        if _is_importable(node):
            yield place, node
        elif (inner := _as_yaml(node)) != node:
            yield from _named(inner, place)


def _as_yaml(text: str) -> Any:
    """What the parser of the configuration makes of a text, which may hold YAML itself."""
    try:
        return get_loader("yaml")(text)
    except yaml.YAMLError:
        return text


def _is_importable(text: str) -> bool:
    first, *others = text.split(".")
    return bool(others) and all(map(str.isidentifier, (first, *others))) and importlib.util.find_spec(first) is not None


def _allowed(name: str) -> bool:
    """Whether a path is that of a class which one of the allowed packages defines."""
    module, _, attribute = name.rpartition(".")
    if not _DOTTED.fullmatch(name) or not _is_inside(name):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    return inspect.isclass(found) and _is_inside(found.__module__)


def _is_inside(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in ALLOWED)
