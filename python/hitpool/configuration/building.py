"""From a resolved configuration to the objects that it describes, each alone."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from hitpool.configuration.stored import RunConfig
from hitpool.configuration.trainer_options import check_callbacks, check_options
from hitpool.data import HitDataModule
from hitpool.parser import objects_of
from hitpool.parser_message import one_line
from hitpool.training.checkpoints import AtomicCheckpointIO, best_and_last
from hitpool.training.loggers import MetricsBoard, MetricsTable, count_epochs_from_one
from hitpool.training.module import TrackingModule
from hitpool.training.progress import progress_bar

# advertisements, in Python too, where the other messages of Lightning's are for the caller to choose
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "💡 Tip" not in str(record.msg))


def build_model(config: dict[str, Any]) -> TrackingModule:
    """Builds the network with its training steps; the weights are those of torch's random numbers, see `seed`.

    Args:
        config: A resolved configuration.

    Returns:
        The model, in float64 if the training is.

    Raises:
        ValueError: If an argument or a combination of them is wrong.
    """
    model = _instantiated("model", TrackingModule, config["model"] | {"name": config["name"]})
    # Lightning makes it float64 only after a checkpoint is loaded, which would be rounded
    return model.double() if str((config.get("trainer") or {}).get("precision")) in ("64", "64-true") else model


def build_data(config: dict[str, Any]) -> HitDataModule:
    """Builds the data module; nothing is read.

    Args:
        config: A resolved configuration.

    Raises:
        ValueError: If an argument or a combination of them is wrong.
    """
    return _instantiated("data", HitDataModule, config["data"])


def build_trainer_options(config: dict[str, Any], subcommand: str | None = None) -> dict[str, Any]:
    """Builds the arguments of the Trainer: its callbacks, loggers and plugins.

    Args:
        config: A resolved configuration.
        subcommand: What will be run, if anything.

    Returns:
        Arguments by name; callbacks and plugins are lists, and `logger` is not built yet.

    Raises:
        ValueError: If an argument is wrong or does not fit a tracking model.
    """
    options = dict(_instantiated("trainer", Trainer, config["trainer"] | {"logger": False}, instantiate=False))
    options["logger"] = config["trainer"].get("logger")
    options |= {name: _as_list(options[name]) for name in ("callbacks", "plugins")}
    check_options(options, subcommand)
    check_callbacks(options["callbacks"], subcommand)
    return options


def build_trainer(
    options: dict[str, Any],
    run: Path,
    stored: RunConfig | None,
    callbacks: Sequence[Callback] = (),
    checkpoint_io: AtomicCheckpointIO | None = None,
    continued: dict[str, Any] | None = None,
) -> Trainer:
    """Builds the Trainer, whose loggers, checkpoints and results share one run directory.

    Args:
        options: What `build_trainer_options` returned.
        run: The run directory; nothing is written yet.
        stored: Writes the configuration of a training; None for what trains nothing, and then neither metrics nor
            checkpoints are written.
        callbacks: Further callbacks.
        checkpoint_io: Reads and writes checkpoints.
        continued: `global_step` and `metrics_rows` of the checkpoint from which the training goes on.

    Raises:
        ValueError: If Lightning refuses something.
    """
    callbacks = [*options["callbacks"], *callbacks]
    if options["enable_progress_bar"] is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
        callbacks.insert(len(options["callbacks"]), progress_bar())
    options, loggers = dict(options), []
    if stored and not options["fast_dev_run"]:
        continued = continued or {"global_step": 0, "metrics_rows": 0}
        place: dict[str, Any] = {"save_dir": str(run.parent.parent), "name": run.parent.name, "version": run.name}
        if options["logger"] is not False:
            board = MetricsBoard(**place, default_hp_metric=False, purge_step=continued["global_step"])
            loggers = [MetricsTable(**place, keep=continued.get("metrics_rows")), board]
            loggers = [count_epochs_from_one(logger) for logger in (*loggers, *_loggers(options["logger"]))]
        callbacks.append(stored)
        if options["enable_checkpointing"] is not False:
            callbacks = [*best_and_last(run / "ckpts"), *callbacks]
    else:
        options["enable_checkpointing"] = False
    options |= {"default_root_dir": str(run), "callbacks": callbacks, "logger": loggers or False}
    options["plugins"] = [*options["plugins"], checkpoint_io or AtomicCheckpointIO()]
    try:
        return Trainer(**options)
    except (MisconfigurationException, TypeError, ValueError) as error:
        given = ", ".join(f"{name} {options[name]}" for name in ("accelerator", "strategy", "devices", "precision"))
        raise ValueError(f"trainer ({given}): {error}") from error


def seed(config: dict[str, Any]) -> None:
    """Seeds the random numbers of the process as `seed_everything` says; true chooses one and keeps it in `config`."""
    if config["seed_everything"] is not False:
        number = None if config["seed_everything"] is True else config["seed_everything"]
        config["seed_everything"] = seed_everything(number, workers=True)


def set_matmul_precision(config: dict[str, Any]) -> None:
    """Sets the precision of products of float32 matrices for the process; a configuration may be older than the key."""
    torch.set_float32_matmul_precision(config.get("matmul_precision", "highest"))


def _loggers(given: Any) -> list[Logger]:
    """The loggers of a configuration, besides those of every run."""
    sections = [section for section in _as_list(given) if not isinstance(section, bool)]
    return _as_list(_instantiated("trainer", Trainer, {"logger": sections}, instantiate=False)["logger"])


def _instantiated(key: str, kind: type, section: dict[str, Any], instantiate: bool = True) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, key, fail_untyped=False, instantiate=instantiate)
    try:
        parsed = parser.parse_object({key: copy.deepcopy(section)})  # it changes what it parses
        return objects_of(parser, parsed)[key]
    except (ArgumentError, ValueError) as error:
        raise ValueError(one_line(str(error))) from error


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
