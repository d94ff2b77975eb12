"""What a training cannot do with options and callbacks of Lightning, said before there is a run directory."""

import re
from collections.abc import Iterable
from typing import Any

from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    Callback,
    LearningRateFinder,
    ModelPruning,
    SpikeDetection,
    WeightAveraging,
)

from hitpool.data.datamodule import NO_OVERFIT_BATCHES

CALLBACKS = {
    LearningRateFinder: "the learning rate follows a schedule: set model.lrs_config.max",
    BatchSizeFinder: "batches are cut by their length: set data.batch_size",
    BaseFinetuning: "all parameters have one learning rate: use hitpool.tasks.FrozenEncoderRegressionTask",
    ModelPruning: "pruned weights have other names, which neither predict nor export knows",
    SpikeDetection: "Lightning cannot write its state into checkpoints: a loss that is not finite stops the training",
}


def check_callbacks(callbacks: Iterable[Callback]) -> None:
    """Checks that callbacks fit a tracking model.

    Args:
        callbacks: Callbacks of the Trainer.

    Raises:
        ValueError: If one does not, with the reason.
    """
    for callback in callbacks:
        name = type(callback).__name__
        for kind, reason in CALLBACKS.items():
            if isinstance(callback, kind):
                raise ValueError(f"trainer.callbacks: {name} is not supported, because {reason}")
        if isinstance(callback, WeightAveraging) and callback._use_buffers and "avg_fn" not in callback._kwargs:
            raise ValueError(f"trainer.callbacks: {name} cannot average buffers of truth values: set use_buffers=false")


def check_options(trainer: dict[str, Any]) -> None:
    """Checks options of the Trainer.

    Args:
        trainer: Options by name.

    Raises:
        ValueError: If one is not supported, with what to use instead.
    """
    if trainer["barebones"]:
        raise ValueError(
            "trainer.barebones is not supported: it has neither checkpoints nor metrics; "
            "hitpool bench --model measures the speed of a training"
        )
    if re.match("ddp_(spawn|fork|notebook)", str(trainer["strategy"])):
        raise ValueError(
            f"trainer.strategy {trainer['strategy']} is not supported: its processes end before the test, and "
            "take with them what was logged; use ddp"
        )
    if trainer["overfit_batches"]:
        raise ValueError(NO_OVERFIT_BATCHES)
