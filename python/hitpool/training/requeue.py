"""Requeueing on SLURM: the checkpoint is written between two batches, never inside one."""

import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment


class Requeue(Callback):
    """Lets the signal with which SLURM announces the end of a job wait for the end of a batch.

    Lightning writes the checkpoint and requeues the job wherever the signal comes, for example between the update of
    the weights and the count of the step. The processes of a training agree on the batch.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the signal, before Lightning does: a test, which has other weights, is not to write a checkpoint."""
        environment = trainer._accelerator_connector.cluster_environment
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

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        self._received = signum

    def _requeue(self, trainer: Trainer) -> None:
        if self._due and trainer.strategy.reduce_boolean_decision(self._received > 0, all=False):
            trainer._signal_connector._slurm_sigusr_handler_fn(self._received, None)
            self._due = False
