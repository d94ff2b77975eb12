"""What is wrong with a configuration that the parser refuses: the place, and what there is instead."""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonargparse import ArgumentParser

from hitpool.data.names import suggestion

CLASS = ("class_path", "init_args", "dict_kwargs")  # keys of what describes an object
MOST = 30  # options that are listed


def wrong_class(node: Any, path: str = "") -> tuple[str, str] | None:
    """Finds the first object that is not described as it must be.

    Args:
        node: A configuration or a part of it.
        path: Where it is.

    Returns:
        Place of the fault, and the fault in a line; None if every class exists and has the options that it is given.
    """
    entries = dict(_entries(node, path))
    classes = any(isinstance(entry, Mapping) and "class_path" in entry for entry in entries.values())
    if isinstance(node, list) and classes:
        for place, entry in entries.items():
            if not isinstance(entry, str) and not (isinstance(entry, Mapping) and "class_path" in entry):
                return place, f"{place}: expected class_path and init_args, got {entry!r}"
    if isinstance(node, Mapping) and ({"class_path", "init_args"} & node.keys()) and (fault := _fault(node)):
        place = f"{path}.{fault[0]}"
        return place, f"{place.rpartition('.')[0]}: {fault[1]}"
    return next((fault for place, entry in entries.items() if (fault := wrong_class(entry, place))), None)


def with_index(path: str, got: str, config: Any) -> str:
    """Puts the index into a path through a list of objects, which the parser leaves out.

    Args:
        path: Keys with dots, as the parser names them.
        got: The wrong value.
        config: The configuration.

    Returns:
        The path as an option has it, without `modules`; without the index if two entries have that value.

    Example:
        >>> tasks = {"modules": [{"init_args": {"loss": "l1"}}, {"init_args": {"loss": "l3"}}]}
        >>> with_index("tasks.modules.loss", "l3", {"tasks": {"class_path": "torch.nn.ModuleList", "init_args": tasks}})
        'tasks.1.loss'
    """
    values = [inner for place, value in _places(config, path.split("."), "") for inner in _parts(value, place)]
    found = [place for place, value in values if str(value) == got]
    return found[0] if len(found) == 1 else path


def without(path: str, name: str, missing: str, config: Any) -> str:
    """Puts the index into a path to a list of objects, of which one lacks a required argument.

    Args:
        path: Keys with dots, as the parser names them.
        name: Name of the class of that object.
        missing: The argument.
        config: The configuration.

    Returns:
        The path as an option has it; without the index if there are several such objects.
    """
    found = [
        place
        for node, value in _places(config, path.split("."), "")
        for place, entry in _parts(value, node)
        if isinstance(entry, Mapping)
        and str(entry.get("class_path")).rpartition(".")[2] == name
        and (entry.get("init_args") or {}).get(missing) is None
    ]
    return found[0] if len(found) == 1 else path


def foreign_entry(entries: Any, kind: type, path: str) -> tuple[str, str] | None:
    """Finds the first entry of a list whose class is not of a kind.

    Args:
        entries: Class paths, or class_path and init_args each.
        kind: The class that each must be.
        path: Where the list is.

    Returns:
        Place of the entry, and the fault in a line; None if there is none.
    """
    below: dict[str, type] = {sub.__name__: sub for sub in _below(kind)}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name, place = str(entry.get("class_path") if isinstance(entry, Mapping) else entry), f"{path}.{index}"
        try:
            found = _class(name) if "." in name else below.get(name)
        except ImportError as error:
            return place, f"{place}: class path {name}: {error}"
        if not (inspect.isclass(found) and issubclass(found, kind)):
            return place, f"{place}: expected the class of a {kind.__name__}, got {name}"
    return None


def _below(kind: type) -> Iterator[type]:
    subclasses: list[type] = kind.__subclasses__()
    for sub in subclasses:
        yield sub
        yield from _below(sub)


def has(config: Any, path: str) -> bool:
    """Whether a configuration says something at a path.

    Args:
        config: The configuration.
        path: Keys and indices with dots; `init_args` and `modules` may be left out.
    """
    return any(True for _ in _places(config, path.split("."), ""))


def _entries(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, entry in pairs:
        yield (path if key in ("init_args", "modules") else f"{path}.{key}".lstrip(".")), entry


def _parts(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A value, and what it holds."""
    yield path, node
    for place, entry in _entries(node, path):
        yield from _parts(entry, place)


def _places(node: Any, keys: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Places and values at a path, of which there are several behind a list without an index."""
    if not keys:
        yield path, node
        return
    key, *rest = keys
    if isinstance(node, Mapping) and "init_args" in node and key not in node:
        node = node["init_args"]
        if isinstance(node, Mapping) and key.isdecimal():
            node = node.get("modules")
    if isinstance(node, list):
        for index, entry in enumerate(node):
            if not key.isdecimal() or int(key) == index:
                yield from _places(entry, rest if key.isdecimal() else keys, f"{path}.{index}")
    elif isinstance(node, Mapping) and key in node:
        yield from _places(node[key], rest, path if key == "modules" else f"{path}.{key}".lstrip("."))


def _fault(node: Mapping[str, Any]) -> tuple[str, str] | None:
    """Key and fault of the description of an object."""
    for key in node:
        if key not in CLASS:
            return key, f"expected class_path and init_args, got {key!r}{suggestion(str(key), CLASS)}"
    if "class_path" not in node:
        return "init_args", "init_args without a class_path"
    try:
        found = _class(str(node["class_path"]))
    except ImportError as error:
        return "class_path", f"class path {node['class_path']}: {error}"
    given = node.get("init_args")
    if given is not None and not isinstance(given, Mapping):
        return "init_args", f"init_args: expected a mapping, got {given!r}"
    return _unknown(given, found.__name__, _options(found)) if given and inspect.isclass(found) else None


def _unknown(given: Mapping[str, Any], name: str, options: list[str], inside: str = "") -> tuple[str, str] | None:
    """Key and fault of the first argument that a class does not have, or that has a part which it does not have."""
    known = [option.removeprefix(inside).partition(".")[0] for option in options if option.startswith(inside)]
    known = list(dict.fromkeys(known))
    for key, value in given.items():
        place = f"{inside}{key}"
        if key not in known:
            near = suggestion(str(key), known) or f"; it has {', '.join(known)}" * (len(known) <= MOST)
            return place, f"{name} has no option {key!r}{near}"
        parts = any(option.startswith(f"{place}.") for option in options)
        if parts and isinstance(value, Mapping) and (fault := _unknown(value, name, options, f"{place}.")):
            return fault
    return None


def _class(path: str) -> Any:
    """Imports a class; None for a name without a module, which the parser may know.

    Raises:
        ImportError: If there is none, with the name that is almost right.
    """
    module, _, name = path.rpartition(".")
    if not module:
        return None
    try:
        package = importlib.import_module(module)
    except ModuleNotFoundError as error:
        parent, _, missing = str(error.name).rpartition(".")
        there = dir(importlib.import_module(parent)) if parent else ["hitpool", "lightning", "torch"]
        raise ImportError(f"there is no module {error.name}{suggestion(missing, there)}") from None
    if not hasattr(package, name):
        there = [*dir(package), *getattr(package, "__all__", ())]
        raise ImportError(f"there is no '{name}' in {module}{suggestion(name, there)}")
    return getattr(package, name)


def _options(kind: type) -> list[str]:
    """Names of the arguments of a class and of those that it passes on, as the parser knows them."""
    parser = ArgumentParser(add_help=False)
    parser.add_class_arguments(kind, "it", fail_untyped=False)
    keys = (re.match(r"it\.([\w.]+)", str(key)) for key in parser.get_defaults().keys())  # noqa: SIM118  (it is no dict)
    return list(dict.fromkeys(match[1] for match in keys if match))
