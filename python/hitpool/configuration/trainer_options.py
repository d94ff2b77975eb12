"""What a training cannot do with options and callbacks of Lightning, said before there is a run directory."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    Callback,
    LearningRateFinder,
    ModelPruning,
    ProgressBar,
    SpikeDetection,
    Timer,
)

from hitpool.data.datamodule import NO_OVERFIT_BATCHES
from hitpool.training.refinement import AVERAGING

LIMITS = {"validate": "limit_val_batches", "test": "limit_test_batches", "predict": "limit_predict_batches"}
CALLBACKS = {
    LearningRateFinder: "the learning rate follows a schedule: set model.lrs_config.max",
    BatchSizeFinder: "batches are cut by their length: set data.batch_size",
    BaseFinetuning: "all parameters have one learning rate: use model.frozen",
    ModelPruning: "pruned weights have other names, which neither predict nor export knows",
    SpikeDetection: "Lightning cannot write its state into checkpoints: a loss that is not finite stops the training",
}
TABLE = "hitpool.evaluation.PredictionTable"
FOR_ACTS = "hitpool.evaluation.ActsWriter"
PREDICTED = ("on_predict_batch_end", "on_predict_epoch_end", "on_predict_end")  # hooks that may write


def check_callbacks(callbacks: Sequence[Callback], subcommand: str | None) -> None:
    """Checks that callbacks fit a tracking model.

    Args:
        callbacks: Callbacks of the Trainer.
        subcommand: What will be run, if anything.

    Raises:
        ValueError: If one does not, with the reason, or if none would write predictions.
    """
    if subcommand == "predict" and not any(_changes(callback, PREDICTED) for callback in callbacks):
        raise ValueError(
            f"trainer.callbacks: expected one that writes the predictions, such as {TABLE}, "
            f"got {', '.join(type(callback).__name__ for callback in callbacks) or 'none'}"
        )
    for callback in callbacks:
        name = type(callback).__name__
        for kind, reason in CALLBACKS.items():
            if isinstance(callback, kind):
                raise ValueError(f"trainer.callbacks: {name} is not supported, because {reason}")
        if isinstance(callback, AVERAGING) and callback._use_buffers and "avg_fn" not in callback._kwargs:
            raise ValueError(f"trainer.callbacks: {name} cannot average buffers of truth values: set use_buffers=false")


def predict_into(trainer: dict[str, Any], output: Path) -> None:
    """Lets the predictions be written as a table into a file, and nowhere else.

    Args:
        trainer: Options of the Trainer; changed in place.
        output: The file.
    """
    given = trainer["callbacks"] or []
    callbacks = [
        callback
        for callback in (given if isinstance(given, list) else [given])
        if callback["class_path"] not in (TABLE, "hitpool.evaluation.PredictionWriter")
    ]
    trainer["callbacks"] = [*callbacks, {"class_path": TABLE, "init_args": {"filename": str(output.absolute())}}]


def predict_for_acts(trainer: dict[str, Any], folder: Path | None) -> None:
    """Lets the predictions be written for ACTS's examples, too, in a folder `acts`.

    Args:
        trainer: Options of the Trainer; changed in place.
        folder: Where this folder is; None for the run directory.
    """
    given = trainer["callbacks"] or []
    callbacks = given if isinstance(given, list) else [given]
    arguments = {"folder": str(folder.absolute() / "acts")} if folder else {}
    trainer["callbacks"] = [*callbacks, {"class_path": FOR_ACTS, "init_args": arguments}]


def reports_test(callbacks: Sequence[Callback]) -> bool:
    """Whether a callback says what came out of a test.

    Args:
        callbacks: Callbacks of the Trainer.
    """
    return any(_changes(callback, ("on_test_end",)) for callback in callbacks)


def check_options(trainer: dict[str, Any], subcommand: str | None) -> None:
    """Checks options of the Trainer.

    Args:
        trainer: Options by name.
        subcommand: What will be run, if anything.

    Raises:
        ValueError: If one is not supported, with what to use instead, or leaves nothing to do.
    """
    if trainer["barebones"]:
        raise ValueError(
            "trainer.barebones is not supported: it has neither checkpoints nor metrics; "
            "the progress bar shows the speed of a training"
        )
    if re.match("ddp_(spawn|fork|notebook)", str(trainer["strategy"])):
        raise ValueError(
            f"trainer.strategy {trainer['strategy']} is not supported: its processes end before the test, and "
            "take with them what was logged; use ddp"
        )
    if trainer["overfit_batches"]:
        raise ValueError(NO_OVERFIT_BATCHES)
    limit = LIMITS.get(subcommand or "")
    if limit is not None and trainer[limit] == 0:
        raise ValueError(f"trainer.{limit}: expected at least one batch to {subcommand}, got 0; 1.0 takes all")


def _changes(callback: Callback, hooks: Sequence[str]) -> bool:
    changed = any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in hooks)
    return changed and not isinstance(callback, ProgressBar | Timer)
