"""Requeueing on SLURM: the checkpoint is written between two batches, never inside one."""

import os
import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment

from hitpool.training.progress import say


class Requeue(Callback):
    """Lets the signal with which SLURM announces the end of a job wait for the end of a batch.

    Lightning writes the checkpoint and requeues the job wherever the signal comes, for example between the update of
    the weights and the count of the step. The processes of a training agree on the batch. In the second phase, which
    has no checkpoint of its own, the job is requeued and ended at once.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the signal, before Lightning does: a test, which has other weights, is not to write a checkpoint."""
        environment: Any = trainer._accelerator_connector.cluster_environment
        requeues = isinstance(environment, SLURMEnvironment) and environment.auto_requeue
        self._due = requeues and stage == "fit"
        self._received = 0
        if requeues:
            signal.signal(environment.requeue_signal, self._remember)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Requeues, if the signal has come."""
        self._requeue(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Requeues, if the signal has come."""
        if not trainer.sanity_checking:
            self._requeue(trainer)

    def end_at_signal(self, trainer: Trainer) -> None:
        """Lets the signal requeue the job and end the first process; at once, if it has come after the last batch.

        Raises:
            SystemExit: The signal has come, or when it comes.
        """
        if self._due and trainer.is_global_zero:
            environment: Any = trainer._accelerator_connector.cluster_environment
            signal.signal(environment.requeue_signal, _requeue_and_end)
            if self._received:
                _requeue_and_end(self._received, None)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        self._received = signum

    def _requeue(self, trainer: Trainer) -> None:
        if self._due and trainer.strategy.reduce_boolean_decision(self._received > 0, all=False):
            trainer._signal_connector._slurm_sigusr_handler_fn(self._received, None)  # type: ignore[arg-type]
            self._due = False


def _requeue_and_end(signum: int, frame: FrameType | None) -> None:
    """Ends as at the SIGTERM that SLURM sends to a job that is requeued; goes on if it cannot be."""
    signal.signal(signum, signal.SIG_IGN)
    job = os.environ["SLURM_JOB_ID"]
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    command = f"scontrol requeue {job}"
    if status := os.system(command):
        say(f"the job is not requeued: {command} ended with status {os.waitstatus_to_exitcode(status)}")
        return
    raise SystemExit(128 + signal.SIGTERM)
