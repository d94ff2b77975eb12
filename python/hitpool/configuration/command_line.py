"""From a command line to a configuration, run directory and checkpoint."""

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hitpool.configuration.files import Source, find, read, training_name
from hitpool.configuration.merging import merge, set_entry, take_options
from hitpool.configuration.stored import of_checkpoint
from hitpool.configuration.trust import check_trusted
from hitpool.data.names import suggestion
from hitpool.training import runs
from hitpool.weights import read_checkpoint


@dataclass
class Arguments:
    """What a command line means.

    Args:
        subcommand: fit, validate, test or predict; None to build the objects without running anything.
        config: The configuration files, merged, with what only a list index can reach.
        options: Further options for the parser, which come after the files.
        folder: Folder of the runs of that name.
        run: Existing run directory to write into, or None for a new one.
        checkpoint: Checkpoint to start from, or None.
        notice: Sentence for the user on what is continued, or an empty string.
        translation: Lines for the user on how the configuration files were read.
        trusted: Whether the configuration may name classes of anybody.
        sources: The configuration files.
        given: Options that change the configuration.
        command: All options, as they were given.
    """

    subcommand: str | None
    config: dict[str, Any]
    options: list[str]
    folder: Path
    run: Path | None = None
    checkpoint: Path | None = None
    notice: str = ""
    translation: list[str] = field(default_factory=list)
    trusted: bool = True
    sources: list[Source] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def file_of(self, path: str) -> Path | None:
        """The file that says what is at a path; None if an option says it, or nothing does.

        Args:
            path: Keys and indices with dots.
        """
        names = [re.split(r"\+?=", option)[0].removeprefix("--") for option in self.given if option.startswith("--")]
        if any(f"{path}.".startswith(f"{name}.") or name.startswith(f"{path}.") for name in names):
            return None
        return next((source.path for source in reversed(self.sources) if source.says(path)), None)

    @contextmanager
    def building(self, section: str) -> Iterator[None]:
        """Names the file of a section in the errors of its objects, if no option changes it.

        Args:
            section: model or data.
        """
        try:
            yield
        except ValueError as error:
            if file := self.file_of(section):
                raise ValueError(f"{file}: {error}") from error
            raise

    def as_in_files(self, line: str) -> str:
        """A message with the paths that the files have, where those of the configuration are others.

        Args:
            line: The message.
        """
        moved = {
            ours: theirs
            for source in self.sources
            for ours, theirs in source.moved.items()
            if self.file_of(ours) == source.path
        }
        paths = "|".join(re.escape(ours) for ours in sorted(moved, key=len, reverse=True))
        return re.sub(rf"(?<![\w.])({paths})(?!\w)", lambda match: moved[match[1]], line) if moved else line


def configuration(options: list[str]) -> dict[str, Any]:
    """The configuration that `--config` means, without the other options.

    Args:
        options: Command line behind the subcommand.

    Raises:
        FileNotFoundError: If a configuration does not exist.
        ValueError: If one is wrong.
    """
    given = [read(find(name)) for name in known_options(options)[0].config]
    return merge([*_base(given), *given])[0]


def interpret(
    subcommand: str | None,
    options: list[str],
    entries: dict[str, Any] | None = None,
    look_into: Callable[[Path], dict[str, Any]] = read_checkpoint,
) -> Arguments:
    """Resolves `--config`, `--checkpoint`, options with a list index and those of scale factors.

    - `--config` is a path or the name of a packaged configuration; without it, the configuration of the checkpoint is
      used: what the checkpoint holds, or `config.yaml` of its run if it holds none; `fit` takes the run's first, which
      can be newer. There is `muon.yaml` if there is neither. A file with tasks alone changes the tasks of the
      configuration before it, or of `muon.yaml`.
    - `--checkpoint last` and `best` mean the most recent run of that name that has such a checkpoint. `fit` then
      continues in its directory, or starts in that of the most recent run from the beginning if none has one yet. The
      other subcommands use `best` by default, or `last` of a run without a validation.
    - `--model.model.tasks.2.loss_weight 0.5` changes one entry of a list of modules.
    - Scale factors add to the table of the configurations before them.
    - `--trust` lets the configuration of a checkpoint or of a run name classes of anybody; those that the command line
      or its files name too need none.

    Args:
        subcommand: fit, validate, test or predict; None to build the objects without running anything.
        options: Command line behind the subcommand.
        entries: Further changes of the configuration, dotted path and value.
        look_into: Reads a checkpoint.

    Raises:
        FileNotFoundError: If a configuration, a run or a checkpoint does not exist.
        CheckpointError: If the checkpoint cannot be read.
        UntrustedError: If the configuration of the checkpoint or of the run names other classes than it may.
        ValueError: If a configuration, a name or an option with a list index is wrong.
    """
    known, rest = known_options(options)
    given = [read(find(name)) for name in known.config]
    base = _base(given)
    name = training_name([*base, *given]) if known.name is None else known.name
    arguments = Arguments(subcommand, {}, [], runs.folder(Path(known.runs), name), command=options)
    informative = any(re.match(r"(-h$|--help|--print_config)", option) for option in rest)
    if subcommand and not informative:
        if known.ckpt_path in ("last", "best") or (known.ckpt_path is None and subcommand != "fit"):
            _continue_newest(arguments, known.ckpt_path)
        elif known.ckpt_path:
            _continue_from(arguments, Path(known.ckpt_path))

    if stored := _stored(arguments, look_into):
        if not known.trust:
            check_trusted(stored.content, stored.path, said=f"{rest} {[source.content for source in given]}")
        arguments.trusted = known.trust
        base = [stored]
        if arguments.run is None and known.name is None:
            name = training_name([*base, *given])
            arguments.folder = runs.folder(Path(known.runs), name)
    elif arguments.run and arguments.checkpoint and not given:
        raise FileNotFoundError(
            f"{arguments.run / 'config.yaml'} does not exist: name the configuration of the training with --config"
        )
    sources = [*base, *given]
    _check_first(sources[0])
    arguments.sources, arguments.given = sources, rest
    arguments.config, arguments.translation = merge(sources)
    arguments.options = take_options(arguments.config, rest)
    for path, value in (entries or {}).items():
        set_entry(arguments.config, path, value)
    arguments.config |= {"name": name, "runs": known.runs}
    if arguments.checkpoint:
        arguments.config["ckpt_path"] = str(arguments.checkpoint)
    return arguments


def choose_checkpoint(which: str | None, name: str | None, folder: str) -> Arguments:
    """Finds a checkpoint as `--checkpoint`, `--name` and `--runs` name it.

    Args:
        which: A file, `best`, `last`, or None for `best` or else `last`.
        name: Name of the training; that of muon.yaml if None.
        folder: Folder of all runs.

    Returns:
        Arguments with run directory, checkpoint and notice.

    Raises:
        FileNotFoundError: If there is none.
    """
    arguments = Arguments("test", {}, [], runs.folder(Path(folder), name or training_name(_base([]))))
    if which in (None, "best", "last"):
        _continue_newest(arguments, which)
    else:
        _continue_from(arguments, Path(str(which)))
    return arguments


def _stored(arguments: Arguments, look_into: Callable[[Path], dict[str, Any]]) -> Source | None:
    """The configuration of the checkpoint, or of the run that goes on from the beginning; None if there is none."""
    of_run = arguments.run / "config.yaml" if arguments.run else None
    in_run = of_run is not None and of_run.is_file()
    if arguments.checkpoint and not (in_run and arguments.subcommand == "fit"):
        content = of_checkpoint(look_into(arguments.checkpoint), arguments.checkpoint)
        if content is not None:
            return Source(arguments.checkpoint, content)
    return read(of_run) if of_run and in_run else None


def _check_first(source: Source) -> None:
    """Refuses a file that changes the model of another one, if it is the first."""
    model = source.content.get("model")
    network = model.get("model") if isinstance(model, dict) else None
    if isinstance(network, dict) and "init_args" in network and "class_path" not in network:
        raise ValueError(
            f"{source.path}: model.model has init_args and no class_path: name the configuration that it changes with "
            "--config in front of it"
        )


def known_options(options: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Takes the options that say what to read from those of the configuration.

    Args:
        options: Command line behind the subcommand.

    Returns:
        Those options, and all others as they are.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", "-c", action="append", default=[])
    parser.add_argument("--checkpoint", "--ckpt_path", dest="ckpt_path")
    parser.add_argument("--name")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--trust", action="store_true")
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
        raise FileNotFoundError(f"{missing}: train with 'hitpool fit', or name a file with --checkpoint")


def _no_run(folder: Path, others: list[str]) -> str:
    known = f"; {folder.parent} holds runs of: {', '.join(others)}" if others else ""
    return f"{folder} holds no run{suggestion(folder.name, others)}{known}"


def _continue_from(arguments: Arguments, checkpoint: Path) -> None:
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"--checkpoint: {checkpoint} does not exist; expected a checkpoint, such as <run>/ckpts/best.ckpt, or "
            "'last' or 'best' for that of the most recent run"
        )
    arguments.checkpoint, arguments.run = checkpoint, runs.of_checkpoint(checkpoint)
