"""From what a command line means to a complete, checked configuration."""

import copy
import inspect
import re
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentError, Namespace, set_dumper
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, Trainer

from hitpool import __version__
from hitpool.configuration.check import check
from hitpool.configuration.command_line import Arguments, known_options
from hitpool.configuration.derived import derive
from hitpool.configuration.diagnosis import foreign_entry, with_index, without, wrong_class
from hitpool.configuration.subcommands import COMMON, USES
from hitpool.data import HitDataModule
from hitpool.parser import ArgumentParser, near_option
from hitpool.parser_message import one_line
from hitpool.training.module import TrackingModule
from hitpool.training.samples import Samples

FORMAT_HELP = "acts: also write the tracks for the examples of ACTS, into a folder acts beside the table."
SECTIONS = {"trainer": Trainer, "model": TrackingModule, "data": HitDataModule}


def resolve(arguments: Arguments) -> dict[str, Any]:
    """Completes a configuration with the options and defaults, and checks all of it; nothing is built.

    Args:
        arguments: What the command line means, see `hitpool.configuration.command_line.interpret`.

    Returns:
        Plain dictionaries, lists, numbers and texts; classes as `class_path` and `init_args`.

    Raises:
        ArgumentError: If an option of a subcommand is wrong.
        ValueError: If the configuration is wrong and no subcommand is run, or if its parts do not fit together.
    """
    command = arguments.subcommand
    derive(arguments.config)
    parser = _parser(command, sub_configs=arguments.trusted)
    try:
        config = _plain(_parsed(parser, arguments), parser)
        if _mark_passed_over(arguments.config, config):
            _parsed(parser, arguments)
    except ArgumentError as error:
        line = _explained(str(error), arguments, parser)
        raise (ArgumentError(None, line) if command else ValueError(line)) from error
    seed = config["seed_everything"]
    if seed is None or not 0 <= seed < 2**32:
        raise ValueError(f"seed_everything: expected 0 to {2**32 - 1}, got {seed}")
    for name, parameter in inspect.signature(HitDataModule).parameters.items():
        if config["data"].get(name, "") is None and parameter.default not in (None, inspect.Parameter.empty):
            raise ValueError(f"data.{name}: expected {type(parameter.default).__name__}, got null")
    try:
        check(config)
    except ValueError as error:
        raise ValueError(arguments.as_in_files(str(error))) from None
    return config


def refuse_unknown_options(command: str, options: list[str]) -> None:
    """Checks the names of options before anything is read; those inside an object are left to `resolve`.

    Args:
        command: fit, validate, test or predict.
        options: Command line behind it.

    Raises:
        ArgumentError: If there is no such option.
    """
    _parser(command, sub_configs=False).refuse_unknown(known_options(options)[1])


def _explained(message: str, arguments: Arguments, parser: ArgumentParser) -> str:
    """What is wrong in a line: the file if it is in one, the place, and what was expected."""
    trainer = arguments.config.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, dict) else None
    if fault := wrong_class(arguments.config) or foreign_entry(callbacks, Callback, "trainer.callbacks"):
        place, line = fault
        parent = place.rpartition(".")[0]
        if line.startswith(f"{parent}: "):  # in the file, where this option stands
            parent_there = arguments.as_in_files(place).rpartition(".")[0]
            line = f"{parent_there}{line.removeprefix(parent)}"
        else:
            line = arguments.as_in_files(line)
    else:
        line = one_line(message)
        if line.startswith("missing: model.model"):
            return _no_model(arguments)
        if unknown := re.match(r"there is no option '([\w.]+)'", line):
            keys = [*SECTIONS, *parser.get_defaults().keys()]
            parts = unknown[1].split(".")
            paths = (".".join(parts[:end]) for end in range(1, len(parts)))
            place = next(
                (path for path in paths if not any(f"{key}.".startswith(f"{path}.") for key in keys)), unknown[1]
            )
            line = line.replace(unknown[1], place) + near_option(place, keys)
        elif lacking := re.fullmatch(r"([\w.]+): (\w+): missing: (\w+)(.*)", line):
            place = without(lacking[1], lacking[2], lacking[3], arguments.config)
            line = f"{place}: {lacking[2]}: missing: {lacking[3]}{lacking[4]}"
        elif value := re.fullmatch(r"([\w.]+): (expected .*, got (.*))", line):
            place = with_index(value[1], value[3], arguments.config)
            line = f"{place}: {value[2]}"
        else:
            place = re.split("[: ]", line, maxsplit=1)[0]
        line = arguments.as_in_files(line)
    file = arguments.file_of(place)
    return f"{file}: {line}" if file else line


def _no_model(arguments: Arguments) -> str:
    source = arguments.sources[-1]
    return (
        f"{source.path}: there is no model.model, only {', '.join(source.content) or 'nothing'}: name the configuration"
        " that it changes with --config in front of it, such as muon.yaml"
    )


def _parsed(parser: ArgumentParser, arguments: Arguments) -> Namespace:
    """The files, and over them the options, which may be the first to give what is required."""
    known = {key.partition(".")[0] for key in parser.get_defaults().keys()}  # noqa: SIM118  (it is no dict)
    if unknown := [key for key in arguments.config if key not in known]:
        raise ArgumentError(None, f"there is no option '{unknown[0]}'")  # the parser accepts an empty section
    given = {key: value for key, value in arguments.config.items() if value is not None or key not in SECTIONS}
    for key in SECTIONS.keys() & given.keys():
        is_file = isinstance(given[key], str) and Path(given[key]).is_file()
        if not is_file and not isinstance(given[key], dict):
            raise ArgumentError(None, f"{key}: expected a mapping, or a file that holds it, got {given[key]!r}")
    content = copy.deepcopy(given)  # the parser changes it
    base = parser.parse_object(content, _skip_validation=True)
    model = arguments.config.get("model") or {}
    lacks_model = isinstance(model, dict) and model.get("model") is None
    if lacks_model and not any(re.match(r"--model\b|-h$|--help", option) for option in arguments.given):
        _validate(parser, base)  # --print_config would print what is no configuration
    config = parser.parse_args(arguments.options, base, _skip_validation=True)
    _place_loggers(config.trainer.logger)
    _validate(parser, config)
    return config


def _mark_passed_over(given: Any, config: Any) -> bool:
    """Puts a number in place of an empty section that there is not: the parser refuses the number alone."""
    if isinstance(given, list) and isinstance(config, list):
        return any(_mark_passed_over(*pair) for pair in zip(given, config, strict=False))
    if not (isinstance(given, dict) and isinstance(config, dict)):
        return False
    for key, value in given.items():
        if key not in config and value == {} and key not in ("init_args", "dict_kwargs"):
            given[key] = 0
            return True
    return any(_mark_passed_over(value, config[key]) for key, value in given.items() if key in config)


def _validate(parser: ArgumentParser, config: Namespace) -> None:
    try:
        parser.validate(config)
    except (TypeError, KeyError) as error:
        raise ArgumentError(None, str(error)) from error


def _place_loggers(given: Any) -> None:
    """Lets the loggers that need a folder write into the working folder, as the others do, if none is named."""
    for logger in given if isinstance(given, list) else [given]:
        arguments = logger.get("init_args", {}) if isinstance(logger, dict | Namespace) else {}
        if "save_dir" in arguments and arguments["save_dir"] is None:
            arguments["save_dir"] = "."


def _plain(config: Namespace, parser: ArgumentParser) -> dict[str, Any]:
    set_dumper("plain", _values)
    return parser.dump(config, "plain", False, skip_validation=True)  # None is a value


def _values(node: Any) -> Any:
    """Dictionaries, lists and plain values, of which jsonargparse leaves namespaces and enumerations inside lists."""
    if isinstance(node, dict | Namespace):
        entries = node if isinstance(node, dict) else vars(node)
        return {key: _values(value) for key, value in entries.items()}
    if isinstance(node, list | tuple):
        return [_values(value) for value in node]
    return node.value if isinstance(node, Enum) else node


def _parser(command: str | None, sub_configs: bool) -> ArgumentParser:
    """Parser of the options of a subcommand.

    Args:
        command: fit, validate, test or predict; None for no subcommand.
        sub_configs: Whether the name of a YAML file may stand for a section.
    """
    parser = ArgumentParser(
        prog=f"hitpool {command}",
        description=f"{USES[command]} {COMMON}" if command else COMMON,
        dump_header=[f"hitpool {__version__}"],
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Path to a configuration file in YAML.")
    parser.add_argument(
        "--seed_everything", type=bool | int, default=42, help="Seed of weights and order; true chooses one."
    )
    parser.add_argument(
        "--matmul_precision",
        type=Literal["highest", "high", "medium"],
        default="highest",
        help="Of products of float32 matrices, as torch.set_float32_matmul_precision. high allows TF32 on GPUs, medium "
        "bfloat16, on CPUs with matrix instructions for it too.",
    )
    for key, kind in SECTIONS.items():
        parser.add_class_arguments(kind, key, fail_untyped=False, sub_configs=sub_configs)
    parser.set_defaults({"trainer.use_distributed_sampler": False, "trainer.enable_model_summary": False})
    parser.add_argument("--name", type=str, default="hitpool", help="Name of the training.")
    parser.add_argument("--runs", type=str, default="runs", help="Folder for <name>/version_<k>.")
    parser.add_argument(
        "--threads",
        type=PositiveInt | None,
        default=None,
        help="Threads of each process on CPU. If not given, a training tries now and then which number is fastest. "
        "Only a fixed number (with --trainer.deterministic true: all cores) gives the same bits in each training.",
    )
    parser.add_class_arguments(Samples, "simulate")
    parser.link_arguments("name", "model.name")
    if command:
        parser.add_argument(
            "--ckpt_path", "--checkpoint", type=str | None, default=None, help="Checkpoint; 'last' and 'best' as well."
        )
    if command == "predict":
        parser.add_argument("--output", type=Path | None, default=None, help="Table to write: .h5, .parquet or .root.")
        parser.add_argument("--format", type=Literal["acts"] | None, default=None, help=FORMAT_HELP)
    return parser
