"""One configuration from several files, and from the options that the parser of the command line cannot set."""

import copy
import re
from collections.abc import Mapping
from typing import Any

import yaml

from hitpool.configuration.files import Source, load_yaml
from hitpool.configuration.fragments import name_of_task, put_tasks

_SCALE_FACTORS = re.compile(r"--data\.scale_factors(?:\.(?P<field>[^=+]+))?\+?(?:=(?P<value>.*))?", re.DOTALL)
_INDEXED = re.compile(r"--(?P<path>[\w.]+\.\d+(?:\.[\w.]+)?)(?:=(?P<value>.*))?", re.DOTALL)
_DERIVED_FROM = re.compile(
    r"--(?P<path>data\.(?:max_particles|(?:inputs|targets)(?:\.\w+)?))(?:=(?P<value>.*))?", re.DOTALL
)


def merge(sources: list[Source]) -> tuple[dict[str, Any], list[str]]:
    """Merges configurations in their order: mappings key by key, unless they name different classes.

    A mapping that names no class changes the `init_args` of the class before it, whether it says `init_args` or not.

    Args:
        sources: The configurations.

    Returns:
        The configuration, and what the user should know about the files, a line each.

    Raises:
        ValueError: If there is no place for the tasks of a file with tasks alone.
    """
    merged: dict[str, Any] = {}
    lines: list[str] = []
    for index, source in enumerate(sources):
        lines += source.notices
        if source.tasks:
            try:
                merged, names = put_tasks(merged, source.tasks)
                source.moved |= _places_of_tasks(merged, names)
            except ValueError as error:
                raise ValueError(f"{source.path}: {error}") from None
            rest = " and ".join(other.path.name for other in sources[:index])
            lines.append(f"{source.path.name}: tasks {', '.join(names)}; everything else from {rest}")
        else:
            merged = _merged(merged, source.content)
    return merged, lines


def _places_of_tasks(config: dict[str, Any], names: list[str]) -> dict[str, str]:
    """Paths of the tasks that a file with tasks alone has put into a configuration, and those in the file."""
    tasks = config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"]
    present = [str(name_of_task(task)) for task in tasks]
    return {f"model.model.tasks.{present.index(name)}": f"tasks.{index}" for index, name in enumerate(names)}


def take_options(config: dict[str, Any], options: list[str]) -> list[str]:
    """Takes the options that lead into a list, scale factors, which add to the table, and what sizes are derived from.

    Args:
        config: A configuration, which is changed: `--model.model.tasks.2.loss_weight 0.5` sets an entry of a list,
            `--data.scale_factors.<field> 0.3` and `--data.scale_factors '{<field>: 0.3}'` mean the same, and null
            instead of a table forgets what is before it.
        options: Options of the command line.

    Returns:
        The other options.

    Raises:
        ValueError: If an option has no value or no place, or the factor of a field is no number.

    Example:
        >>> config = {"data": {"scale_factors": {"r": 0.2, "s": 0.1}}}
        >>> take_options(config, ["--data.scale_factors.r", "0.3", "--data.batch_size=9"]), config
        (['--data.batch_size=9'], {'data': {'scale_factors': {'r': 0.3, 's': 0.1}}})
    """
    rest: list[str] = []
    remaining = iter(options)
    for option in remaining:
        match = _SCALE_FACTORS.fullmatch(option) or _INDEXED.fullmatch(option) or _DERIVED_FROM.fullmatch(option)
        if match is None:
            rest.append(option)
            continue
        text = match["value"] if match["value"] is not None else next(remaining, None)
        if text is None:
            raise ValueError(f"{option}: expected a value")
        if match.re is _SCALE_FACTORS:
            _add_scale_factors(config, match["field"], text)
        else:
            set_entry(config, match["path"], _value(match["path"], text))
    _check_scale_factors(config.get("data"))
    return rest


def set_entry(node: Any, path: str, value: Any) -> None:
    """Sets an entry of a configuration.

    Args:
        node: The configuration, which is changed.
        path: Keys and list indices with dots; `init_args` and the `modules` of a ModuleList may be left out.
        value: The new value.

    Raises:
        ValueError: If the path leads into something that has no such part.
    """
    *parents, last = path.split(".")
    for key in parents:
        node = inside(node, key)
        if isinstance(node, list):
            node = node[_index(node, key, path)]
            continue
        if node.get(key) is None:
            node[key] = {}
        elif isinstance(node[key], str):
            node[key] = {"class_path": node[key]}
        elif not isinstance(node[key], dict | list):
            raise ValueError(f"--{path}: {key} is {node[key]!r} and has no parts")
        node = node[key]
    node = inside(node, last)
    node[_index(node, last, path) if isinstance(node, list) else last] = value


def inside(node: Any, key: str) -> Any:
    """Steps into `init_args`, and into the `modules` of a ModuleList, if a path leaves them out.

    Args:
        node: Part of a configuration.
        key: Next key of the path.
    """
    if isinstance(node, dict) and "class_path" in node and key not in ("class_path", "init_args"):
        node = node.setdefault("init_args", {})
        if key.isdecimal() and isinstance(node.get("modules"), list):
            node = node["modules"]
    return node


def _merged(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return copy.deepcopy(over)
    if over.get("class_path", base.get("class_path")) != base.get("class_path"):
        return copy.deepcopy(over)
    if "class_path" in base and not {"class_path", "init_args"} & over.keys():
        over = {"init_args": over}
    return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}


def _index(entries: list[Any], key: str, path: str) -> int:
    if not key.isdecimal() or int(key) >= len(entries):
        raise ValueError(f"--{path}: there is no '{key}'; the configuration has a list of {len(entries)} there")
    return int(key)


def _value(path: str, text: str) -> Any:
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        raise ValueError(f"--{path}: expected a value in YAML, got {text!r}") from None


def _add_scale_factors(config: dict[str, Any], field: str | None, text: str) -> None:
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        value = text  # the parser says what is wrong with it
    data = config.get("data")
    present = data.get("scale_factors") if isinstance(data, Mapping) else None
    set_entry(config, "data.scale_factors", _merged(present, {field: value} if field else value))


def _check_scale_factors(data: Any) -> None:
    table = data.get("scale_factors") if isinstance(data, Mapping) else None
    for field, factor in table.items() if isinstance(table, Mapping) else ():
        try:
            float(factor)
        except (TypeError, ValueError):
            raise ValueError(f"data.scale_factors.{field}: expected a number, got {factor}") from None
