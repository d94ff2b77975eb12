"""From a command line to configuration files, run directory and checkpoint."""

import argparse
import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hitpool.data.names import suggestion
from hitpool.training import runs
from hitpool.training.configuration import Source, find, read, training_name
from hitpool.training.fragments import put_tasks
from hitpool.training.scale_factors import collect_scale_factors

_INDEXED = re.compile(r"--([\w.]+\.\d+(?:\.[\w.]+)?)(?:=(.*))?", re.DOTALL)


@dataclass
class Arguments:
    """What a command line means.

    Args:
        subcommand: fit, validate, test or predict; None to build the objects without running anything.
        options: Options for the parser: configuration files first, then what overrides them.
        folder: Folder of the runs of that name.
        run: Existing run directory to write into, or None for a new one.
        checkpoint: Checkpoint to start from, or None.
        notice: Sentence for the user on what is continued, or an empty string.
        translation: Lines for the user on how the configuration files were read.
    """

    subcommand: str | None
    options: list[str]
    folder: Path
    run: Path | None = None
    checkpoint: Path | None = None
    notice: str = ""
    translation: list[str] = field(default_factory=list)


def configuration(options: list[str]) -> dict[str, Any]:
    """The configuration that `--config` means, without the other options.

    Args:
        options: Command line behind the subcommand.

    Raises:
        FileNotFoundError: If a configuration does not exist.
        ValueError: If one is wrong.
    """
    given = [read(find(name)) for name in _known(options)[0].config]
    return _merged([*_base(given), *given])[0]


def interpret(subcommand: str | None, options: list[str], entries: dict[str, Any] | None = None) -> Arguments:
    """Resolves `--config`, `--ckpt_path` and options with a list index.

    - `--config` is a path or the name of a packaged configuration; without it, the configuration of the run that
      holds the checkpoint is used, and `muon.yaml` if there is none. A file with tasks alone changes the tasks of
      the configuration before it, or of `muon.yaml`.
    - `--ckpt_path last` and `best` mean the most recent run of that name that has such a checkpoint. `fit` then
      continues in its directory, or starts in that of the most recent run from the beginning if none has one yet. The
      other subcommands use `best` by default, or `last` of a run without a validation.
    - `--model.model.tasks.2.loss_weight 0.5` changes one entry of a list of modules.
    - Scale factors add to the table of the configurations before them.

    Args:
        subcommand: fit, validate, test or predict; None to build the objects without running anything.
        options: Command line behind the subcommand.
        entries: Further changes of the configuration, dotted path and value.

    Raises:
        FileNotFoundError: If a configuration, a run or a checkpoint does not exist.
        ValueError: If a configuration, a name or an option with a list index is wrong.
    """
    known, rest = _known(options)
    given = [read(find(name)) for name in known.config]
    base = _base(given)
    name = training_name([*base, *given]) if known.name is None else known.name
    arguments = Arguments(subcommand, [], runs.folder(Path(known.runs), name))
    informative = any(re.match(r"(-h$|--help|--print_config)", option) for option in rest)
    if subcommand and not informative:
        if known.ckpt_path in ("last", "best") or (known.ckpt_path is None and subcommand != "fit"):
            _continue_newest(arguments, known.ckpt_path)
        elif known.ckpt_path:
            _continue_from(arguments, Path(known.ckpt_path))

    stored = arguments.run / "config.yaml" if arguments.run else None
    if stored and stored.is_file():
        base = [read(stored)]
    elif stored and arguments.checkpoint and not given:
        raise FileNotFoundError(f"{stored} does not exist: name the configuration of the training with --config")
    sources = [*base, *given]
    _check_first(sources[0])
    rest, scale_factors = collect_scale_factors((source.content for source in sources), rest)
    rest, indexed = _split_indexed(rest)
    indexed |= entries or {}
    configs = [str(source.path) for source in sources]
    if indexed or any(source.rewritten or source.tasks for source in sources):
        merged, arguments.translation = _merged(sources)
        for path, value in indexed.items():
            _set(merged, path, value)
        configs = [yaml.safe_dump(merged, sort_keys=False)]
    configs += [scale_factors] if scale_factors else []
    arguments.options = [f"--config={config}" for config in configs]
    arguments.options += [f"--name={name}", f"--runs={known.runs}", *rest]
    if arguments.checkpoint:
        arguments.options.append(f"--ckpt_path={arguments.checkpoint}")
    return arguments


def _check_first(source: Source) -> None:
    """Refuses a file that changes the model of another one, if it is the first."""
    model = source.content.get("model")
    network = model.get("model") if isinstance(model, dict) else None
    if isinstance(network, dict) and "init_args" in network and "class_path" not in network:
        raise ValueError(
            f"{source.path}: model.model has init_args and no class_path: name the configuration that it changes with "
            "--config in front of it"
        )


def _known(options: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", "-c", action="append", default=[])
    parser.add_argument("--ckpt_path")
    parser.add_argument("--name")
    parser.add_argument("--runs", default="runs")
    return parser.parse_known_args(options)


def _base(given: list[Source]) -> list[Source]:
    return [] if given and not given[0].tasks else [read(find("muon.yaml"))]


def _continue_newest(arguments: Arguments, which: str | None) -> None:
    folder, versions = arguments.folder, runs.versions(arguments.folder)[::-1]
    found = next(((run, path) for run in versions if (path := runs.checkpoint(run, which))), None)
    kind = "best.ckpt" if which == "best" else "checkpoint"
    if found:
        arguments.run, arguments.checkpoint = found
        reasons = [f"{run} has no {kind}; " for run in versions[: versions.index(arguments.run)]]
        if which is None and arguments.checkpoint.name != "best.ckpt":
            reasons.append(f"{arguments.run} has no best.ckpt, there was no validation; ")
        verb = "continuing from" if arguments.subcommand == "fit" else "using"
        arguments.notice = f"{''.join(reasons)}{verb} {arguments.checkpoint}"
    elif arguments.subcommand == "fit":
        if not versions and (others := runs.names(folder.parent)):
            raise FileNotFoundError(_no_run(folder, others))
        arguments.run = versions[0] if versions else None
        missing = f"{versions[0]} has no {kind} yet" if versions else f"{folder} holds no run yet"
        arguments.notice = f"{missing}: starting from the beginning"
    else:
        missing = f"{versions[0]} has no {kind}" if versions else _no_run(folder, runs.names(folder.parent))
        raise FileNotFoundError(f"{missing}: train with 'hitpool fit', or name a file with --ckpt_path")


def _no_run(folder: Path, others: list[str]) -> str:
    known = f"; {folder.parent} holds runs of: {', '.join(others)}" if others else ""
    return f"{folder} holds no run{suggestion(folder.name, others)}{known}"


def _continue_from(arguments: Arguments, checkpoint: Path) -> None:
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"--ckpt_path: {checkpoint} does not exist; 'last' and 'best' name the most recent run's"
        )
    arguments.checkpoint, arguments.run = checkpoint, runs.of_checkpoint(checkpoint)


def _split_indexed(options: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Takes the options whose path contains a list index out of `options`."""
    rest: list[str] = []
    indexed: dict[str, Any] = {}
    remaining = iter(options)
    for option in remaining:
        match = _INDEXED.fullmatch(option)
        if match is None:
            rest.append(option)
            continue
        value = match[2] if match[2] is not None else next(remaining, None)
        if value is None:
            raise ValueError(f"--{match[1]}: expected a value")
        try:
            indexed[match[1]] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--{match[1]}: expected a value in YAML, got {value!r}") from None
    return rest, indexed


def _merged(sources: list[Source]) -> tuple[dict[str, Any], list[str]]:
    """Configuration files merged in their order, and what the user should know about them."""
    merged: dict[str, Any] = {}
    lines: list[str] = []
    for index, source in enumerate(sources):
        lines += source.notices
        if source.tasks:
            try:
                merged, names = put_tasks(merged, source.tasks)
            except ValueError as error:
                raise ValueError(f"{source.path}: {error}") from None
            rest = " and ".join(other.path.name for other in sources[:index])
            lines.append(f"{source.path.name}: tasks {', '.join(names)}; everything else from {rest}")
        else:
            merged = _merge(merged, source.content)
    return merged, lines


def _merge(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return copy.deepcopy(over)
    if over.get("class_path", base.get("class_path")) != base.get("class_path"):
        return copy.deepcopy(over)
    return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}


def _set(node: Any, path: str, value: Any) -> None:
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


def _index(entries: list[Any], key: str, path: str) -> int:
    if not key.isdecimal() or int(key) >= len(entries):
        raise ValueError(f"--{path}: there is no '{key}'; the configuration has a list of {len(entries)} there")
    return int(key)


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
