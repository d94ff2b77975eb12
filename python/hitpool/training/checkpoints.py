"""Checkpoints that a kill at any moment leaves intact."""

import inspect
import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from hitpool.files import write_bytes
from hitpool.tasks.checkpoint_file import (
    CheckpointError,
    check_intact,
    differences,
    lacking,
    listed,
    read_checkpoint,
    weights_in,
)

OF_TRAINING = ("state_dict", "global_step", "pytorch-lightning_version")  # what Lightning cannot do without
TO_GO_ON = ("loops", "optimizer_states")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints that replace what was there only when they are complete; reads them with all checks.

    What was looked into before Lightning loads it is read only once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[Path, dict[str, Any]] = {}

    def look_into(self, path: Path) -> dict[str, Any]:
        """Content of a checkpoint that will be loaded next; it is kept until then.

        Raises:
            FileNotFoundError: If it does not exist.
            CheckpointError: If it cannot be read.
        """
        if path not in self._read:
            self._read[path] = read_checkpoint(path)
        return self._read[path]

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes `checkpoint` to `path`.

        Raises:
            WriteError: If it cannot be written; `path` is then as it was.
        """
        content = io.BytesIO()
        with _signals_wait():
            torch.save(checkpoint, content)
            write_bytes(path, content.getbuffer())

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a checkpoint.

        Raises:
            CheckpointError: If it is damaged.
        """
        read, self._read = self._read, {}
        if Path(path) in read:
            return read[Path(path)]
        check_intact(path)
        return super().load_checkpoint(path, *args, **kwargs)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Lets signals with a handler wait: what it raises inside torch.save becomes a RuntimeError of its file writer."""
    if threading.current_thread() is not threading.main_thread():  # Python runs handlers in the main thread only
        yield
        return
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in signal.valid_signals()
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


def best_and_last(folder: Path) -> list[ModelCheckpoint]:
    """Callbacks that write `best.ckpt`, the lowest validation loss, and at the end of every epoch `last.ckpt`.

    Args:
        folder: Folder of the checkpoints.
    """
    best = ModelCheckpoint(
        folder, filename="best", monitor="val/loss", save_on_train_epoch_end=False, enable_version_counter=False
    )
    last = ModelCheckpoint(
        folder, filename="last", every_n_epochs=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    return [best, last]


def follow_moved_files(state: dict[str, Any], folder: str | Path) -> None:
    """Corrects the state of a ModelCheckpoint whose folder was moved, which would forget the best score.

    Args:
        state: What a checkpoint keeps of the callback; changed in place.
        folder: Folder of its files now. Nothing happens if the best of them is not there.
    """

    def now(path: str) -> str:
        return os.path.join(folder, os.path.basename(path)) if path else path

    best = state["best_model_path"]
    if not best or os.path.isfile(now(best)):
        state["dirpath"] = folder
        state["best_k_models"] = {now(path): score for path, score in state["best_k_models"].items()}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = now(state[name])


def check_of_training(content: dict[str, Any], path: Path, to_go_on: bool = False) -> None:
    """Checks that a checkpoint is of a training.

    Args:
        content: What it holds.
        path: The file, for messages.
        to_go_on: Whether it is to hold what a training needs to go on.

    Raises:
        CheckpointError: If it is not.
    """
    if missing := [key for key in OF_TRAINING + (TO_GO_ON if to_go_on else ()) if key not in content]:
        raise CheckpointError(
            f"checkpoint {path} is not of a training: expected one that hitpool fit wrote, this has no "
            f"{' and no '.join(missing)}"
        )


def fitting_weights(content: dict[str, Any], path: Path, model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model.

    Args:
        content: What a checkpoint of a training, or a file of weights, holds.
        path: The file, for messages.
        model: The Lightning module.

    Returns:
        Weights by key.

    Raises:
        CheckpointError: If they do not fit the model.
    """
    weights = weights_in(content, path)
    own = model.state_dict()
    if problems := differences(weights, own):
        parts = [*lacking(own, weights), *lacking(weights, own)]
        arguments = [f"--model.{part}" for part in parts if _is_argument(model, part)]
        raise CheckpointError(
            f"checkpoint {path} does not fit the model: {listed(problems)}. It needs the configuration that it was "
            "trained with, config.yaml in the directory of its run"
            + (f"; what differs is set by {' and '.join(arguments)}" if arguments else "")
        )
    return weights


def _is_argument(model: nn.Module, part: str) -> bool:
    """Whether a part of the model is given to the module around it as an argument of that name."""
    owner, _, name = part.rpartition(".")
    modules = dict(model.named_modules())
    return owner in modules and name in inspect.signature(type(modules[owner])).parameters
