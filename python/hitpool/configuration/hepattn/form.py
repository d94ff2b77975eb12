"""Whether a configuration of hepattn has the form of one: checked before it is translated, in the terms of its file."""

from collections.abc import Mapping
from typing import Any

from hitpool.configuration.hepattn.notices import short, shown
from hitpool.data.names import suggestion

_CLASS = ("class_path", "init_args", "dict_kwargs")
_SECTIONS = ("data", "trainer", "model")
_MAPPINGS = ("attn_kwargs", "dense_kwargs", "layer_kwargs", "decoder_layer_config", "decoder", "losses", "costs")
_LISTS = {"tasks": "task", "input_nets": "input network"}
_NAMES = ("fields", "inverse_fields", "hit_fields", "sym_fields")


def check(config: Any) -> None:
    """Checks sections, classes and lists of modules.

    Args:
        config: A configuration, or a piece of one.

    Raises:
        ValueError: If something is in a form that no class of hepattn takes, or there is more than one kind of hits.

    Example:
        >>> check({"net": {"class_path": "hepattn.models.Dense", "init_args": 3}})
        Traceback (most recent call last):
        ValueError: net.init_args: expected a mapping, got 3
    """
    if isinstance(config, Mapping) and "class_path" not in config:
        for name in _SECTIONS:
            _mapping(config.get(name), name)
        _check_data(config.get("data"))
        network = str((config.get("model") or {}).get("class_path"))
        if network.endswith(".MaskFormer"):
            raise ValueError(f"model.class_path: {network} is the network: expected at model.model")
        if "tasks" in config and len(config) > 1:
            raise ValueError("tasks: expected at model.model.init_args.tasks, or in a file that holds tasks alone")
    _check(config, "")


def modules(container: Any, path: str, kind: str) -> list[Any]:
    """Entries of a list of modules.

    Args:
        container: A ModuleList, or the list itself.
        path: Where it is.
        kind: What the entries are.

    Raises:
        ValueError: If there is none, or one that names no class.
    """
    entries = container
    if isinstance(container, Mapping):
        arguments = container.get("init_args")
        entries = arguments.get("modules") if isinstance(arguments, Mapping) else arguments
    if not isinstance(entries, list) or not entries:
        got = shown(container if entries is None else entries)
        raise ValueError(f"{short(path)}: expected a list of {kind}s, each of class_path and init_args, got {got}")
    if isinstance(container, Mapping):
        path = f"{path}.init_args.modules"
    for index, entry in enumerate(entries):
        place = short(f"{path}.{index}")
        if not isinstance(entry, Mapping):
            raise ValueError(f"{place}: expected class_path and init_args, got {shown(entry)}")
        if "class_path" not in entry:
            near = next((near for key in entry if (near := suggestion(str(key), ["class_path"]))), "")
            raise ValueError(f"{place}: class_path is missing, got {', '.join(map(str, entry)) or 'nothing'}{near}")
    return entries


def _check(node: Any, path: str) -> None:
    if isinstance(node, list):
        for index, entry in enumerate(node):
            _check(entry, f"{path}.{index}")
    if not isinstance(node, Mapping):
        return
    if "class_path" in node:
        _check_class(node, path)
    for key, value in node.items():
        place = f"{path}.{key}"
        if key in _MAPPINGS:
            _mapping(value, place)
        inner = key == "net" or (key == "posenc" and "input_name" in node)
        if inner and value is not None and not _is_module(value):
            raise ValueError(f"{short(place)}: expected class_path and init_args, got {shown(value)}")
        if key in _NAMES and value is not None:
            _names(value, place)
        if key in _LISTS and value is not None:
            _check_list(value, place, key)
        _check(value, place)


def _check_class(node: Mapping[str, Any], path: str) -> None:
    place = short(path)
    if not isinstance(node["class_path"], str):
        got = shown(node["class_path"])
        raise ValueError(f"{place}.class_path: expected the path of a class, got {got}".lstrip("."))
    for key in node:
        if key not in _CLASS:
            near = suggestion(str(key), _CLASS)
            raise ValueError(f"{place}: expected class_path and init_args, got '{key}'{near}".lstrip(": "))
    if node.get("init_args") is not None and not isinstance(node["init_args"], Mapping):
        got = shown(node["init_args"])
        raise ValueError(f"{place}.init_args: expected a mapping, got {got}".lstrip("."))


def _check_list(container: Any, path: str, name: str) -> None:
    entries = modules(container, path, _LISTS[name])
    if name == "input_nets" and len(entries) > 1:
        names = [(entry.get("init_args") or {}).get("input_name") for entry in entries]
        raise ValueError(
            f"{short(path)} has {len(entries)} networks ({', '.join(map(str, names))}): hitpool has one kind of hits"
            " and one network for them: keep one"
        )


def _check_data(data: Any) -> None:
    section = (data or {}).get("init_args") if "class_path" in (data or {}) else data
    if not isinstance(section, Mapping):
        return
    for name in ("inputs", "targets"):
        _mapping(section.get(name), f"data.{name}")
        for kind, fields in (section.get(name) or {}).items():
            if name == "targets" and fields is None:
                continue
            _names(fields, f"data.{name}.{kind}")
    inputs = [str(kind) for kind in section.get("inputs") or {}]
    targets = [str(kind) for kind in section.get("targets") or {} if kind != "hit"]
    if len(inputs) > 1:
        raise ValueError(
            f"data.inputs has {' and '.join(inputs)}: hitpool has one kind of hits: keep one, or convert the data into"
            " one list of hits with the fields that all have (hitpool data convert)"
        )
    if len(targets) > 1:
        raise ValueError(f"data.targets has {' and '.join(targets)}: hitpool has one kind of objects: keep one")


def _mapping(value: Any, path: str) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{short(path)}: expected a mapping, got {shown(value)}")


def _names(value: Any, path: str) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{short(path)}: expected a list of names, got {shown(value)}")


def _is_module(value: Any) -> bool:
    return isinstance(value, Mapping) and bool({"class_path", "init_args"} & value.keys())
