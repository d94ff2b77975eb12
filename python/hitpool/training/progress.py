"""What a training shows while it runs."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text
from torch import Tensor

if TYPE_CHECKING:
    from hitpool.training.module import TrackingModule


class TimeLeft:
    """Time that a training still takes, judged by the steps so far with their validations.

    Args:
        trainer: Its Trainer; the clock starts now.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._first = trainer.global_step
        self._last = trainer.estimated_stepping_batches
        self._start = time.monotonic()

    def __str__(self) -> str:
        """As h:mm:ss; nothing before the first step and after the last one."""
        done, left = self._trainer.global_step - self._first, self._last - self._trainer.global_step
        if not (done and left > 0):
            return ""
        return f"{timedelta(seconds=round((time.monotonic() - self._start) * left / done))} left"


def _epoch(trainer: Trainer) -> str:
    last = f"/{trainer.max_epochs}" if trainer.max_epochs != -1 else ""
    return f"epoch {trainer.current_epoch + 1}{last}"


class EpochLines(ProgressBar):
    """One line per epoch, for output that is not a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True

    def enable(self) -> None:
        """Prints lines."""
        self._enabled = True

    def disable(self) -> None:
        """Prints nothing; Lightning calls it in all processes but the first."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the training."""
        self._left = TimeLeft(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the epoch."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints epoch, losses, speed and time."""
        metrics = trainer.callback_metrics | cast("TrackingModule", pl_module).train_means()
        parts = [_epoch(trainer)]
        for name in ("train/loss", "val/loss"):
            if name in metrics:
                parts.append(f"{name} {metrics[name].item():.4f}")
        if "events/s" in metrics:  # else all batches were trained before this process continued the epoch
            parts.append(f"{metrics['events/s'].item():.0f} events/s  {time.monotonic() - self._start:.1f} s")
        if left := str(self._left):
            parts.append(left)
        if self._enabled:
            print("  ".join(parts), flush=True)


class EpochBars(RichProgressBar):
    """One bar per epoch with its mean losses so far, speed and time left, a row of 80 columns."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Name, bar, batches, and the numbers of a training."""
        return [TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), _Numbers()]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Nothing for Lightning's own column, whose text is broken into lines."""
        return {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._left = TimeLeft(trainer)
        super().on_train_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Moves the bar and shows the numbers."""
        super().on_train_batch_end(trainer, *args)
        self._show(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the validation loss."""
        super().on_validation_end(trainer, pl_module)
        self._show(trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the mean loss over all processes."""
        super().on_train_epoch_end(trainer, pl_module)
        self._show(trainer.callback_metrics | cast("TrackingModule", pl_module).train_means())

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the bar before results are printed."""
        self._stop_progress()

    def _show(self, metrics: Mapping[str, Tensor]) -> None:
        if self.progress is None or self.train_progress_bar_id is None:
            return
        formats = {"train/loss": "loss {:.4g}", "val/loss": "val {:.4g}", "events/s": "{:.0f} events/s"}
        parts = [form.format(metrics[name].item()) for name, form in formats.items() if name in metrics]
        self.progress.update(self.train_progress_bar_id, numbers="  ".join([*parts, str(self._left)]))

    def _get_train_description(self, current_epoch: int) -> str:
        return _epoch(self.trainer)


class _Numbers(ProgressColumn):
    """What `EpochBars` says beside the bar of a training."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("numbers", ""))


def progress_bar() -> ProgressBar:
    """Bars in a terminal, lines elsewhere."""
    return EpochBars() if sys.stdout.isatty() else EpochLines()


@rank_zero_only
def say(text: str, file: TextIO | None = None) -> None:
    """Prints a line, in one process only.

    Args:
        text: The line.
        file: Where to; None for the standard output.
    """
    print(text, file=file, flush=True)
