"""What a training shows while it runs."""

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only

if TYPE_CHECKING:
    from hitpool.training.module import TrackingModule


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

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints epoch, losses, speed and time."""
        metrics = trainer.callback_metrics | cast("TrackingModule", pl_module).train_means()
        last = f"/{trainer.max_epochs}" if trainer.max_epochs != -1 else ""
        parts = [f"epoch {trainer.current_epoch + 1}{last}"]
        for name in ("train/loss", "val/loss"):
            if name in metrics:
                parts.append(f"{name} {metrics[name].item():.4f}")
        if "events/s" in metrics:  # else all batches were trained before this process continued the epoch
            parts.append(f"{metrics['events/s'].item():.0f} events/s  {time.monotonic() - self._start:.1f} s")
        if self._enabled:
            print("  ".join(parts), flush=True)


class EpochBars(RichProgressBar):
    """One bar per epoch with loss, validation loss and speed."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Metrics beside the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if "events/s" in metrics:
            metrics["events/s"] = f"{metrics['events/s']:.0f}"
        return metrics


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
