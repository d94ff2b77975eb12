"""The table of scale factors: configuration files and options add to what is before them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

_OPTION = re.compile(r"--data\.scale_factors(?:\.(?P<field>[^=+]+))?\+?(?:=(?P<value>.*))?", re.DOTALL)


def collect_scale_factors(
    configurations: Iterable[Mapping[str, Any]], options: list[str]
) -> tuple[list[str], str | None]:
    r"""Merges tables field by field, where the parser of the command line would keep only the last one.

    `--data.scale_factors.<field> 0.3`, `--data.scale_factors '{<field>: 0.3}'` and `--data.scale_factors+=...` mean
    the same. null instead of a table forgets what is before it.

    Args:
        configurations: Contents of the configuration files, in their order.
        options: Options of the command line.

    Returns:
        The options without those of scale factors, and a configuration with the whole table as YAML; None if the
        parser needs no help, with at most one table.

    Raises:
        ValueError: If an option has no value, or the factor of a field is no number.

    Example:
        >>> own = {"data": {"scale_factors": {"r": 0.2, "s": 0.1}}}
        >>> collect_scale_factors([own], ["--data.scale_factors.r", "0.3", "--data.batch_size=9"])
        (['--data.batch_size=9'], 'data:\n  scale_factors: {r: 0.3, s: 0.1}\n')
    """
    sections = [content.get("data") for content in configurations]
    tables = [data["scale_factors"] for data in sections if isinstance(data, Mapping) and "scale_factors" in data]
    rest: list[str] = []
    remaining = iter(options)
    for option in remaining:
        match = _OPTION.fullmatch(option)
        if match is None:
            rest.append(option)
            continue
        text = match["value"] if match["value"] is not None else next(remaining, None)
        if text is None:
            raise ValueError(f"{option}: expected a value")
        value = _read(text)
        tables.append({match["field"]: value} if match["field"] else value)
    if len(tables) < 2:
        return options, None
    merged = None
    for table in tables:
        if isinstance(table, Mapping):
            _check(table)
        merged = {**merged, **table} if isinstance(table, Mapping) and isinstance(merged, Mapping) else table
    return rest, yaml.safe_dump({"data": {"scale_factors": merged}}, default_flow_style=None, sort_keys=False)


def _check(table: Mapping[str, Any]) -> None:
    for field, factor in table.items():
        try:
            float(factor)
        except (TypeError, ValueError):
            raise ValueError(f"data.scale_factors.{field}: expected a number, got {factor}") from None


def _read(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # the parser says what is wrong with it
