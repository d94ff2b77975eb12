"""Training, validation, test and prediction steps of a tracking model."""

import os
import time
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from hitpool.tasks import FrozenEncoderRegressionTask, WeightedPoolingObjectHitRegressionTask
from hitpool.tasks.checkpoint_file import CheckpointError
from hitpool.training.foreign_checkpoint import load_regression_task
from hitpool.training.metric_means import MetricMeans
from hitpool.training.optimizers import AdamW, Lion
from hitpool.training.progress import say
from hitpool.training.schedule import OneCycle

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]
Outputs = dict[str, dict[str, dict[str, Tensor]]]  # layer -> task -> name
DEFAULT_CYCLE = OneCycle()


class TrackingModule(LightningModule):
    """Trains a model of the `MaskFormer` interface: forward, match, loss, predict, metrics.

    The loss is the sum over layers, tasks and their terms. Every term is logged as `<stage>/<layer>_<task>_<term>`,
    every metric of the final layer as `<stage>/final_<task>_<metric>`.

    Args:
        name: Name of the training; its runs are written to `runs/<name>`.
        model: Network with tasks, see `hitpool.nn.MaskFormer`.
        optimizer: AdamW (Loshchilov and Hutter, arXiv:1711.05101) or Lion (Chen et al., arXiv:2302.06675).
        lrs_config: Learning rate over the training, and weight decay.
        regression_checkpoint: Checkpoint of hepattn or hitpool whose pooled regression a new training starts from, as
            far as it fits; see `hitpool.training.foreign_checkpoint`.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        optimizer: Literal["AdamW", "Lion"] = "AdamW",
        lrs_config: OneCycle = DEFAULT_CYCLE,
        regression_checkpoint: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.model = model
        self.optimizer = optimizer
        self.lrs_config = lrs_config
        self.regression_checkpoint = regression_checkpoint
        self._metrics = MetricMeans()

    def setup(self, stage: str) -> None:
        """Gives the training targets to the tasks that standardise; a checkpoint, loaded later, replaces the result."""
        tasks = [task for task in self.model.tasks if hasattr(task, "fit_standardization")]
        if stage == "fit" and tasks:
            values = self.trainer.datamodule.train_targets()
            for task in tasks:
                task.fit_standardization(values)

    def on_fit_start(self) -> None:
        """Loads weights of other trainings, unless this one is continued and has them already; see its errors."""
        if self.trainer.ckpt_path is None:
            for report in self.load_other_trainings():
                say(report)

    def load_other_trainings(self) -> list[str]:
        """Loads the weights that tasks and `regression_checkpoint` take from other trainings.

        Returns:
            What was taken, for each of them.

        Raises:
            FileNotFoundError: If a checkpoint does not exist.
            CheckpointError: If it does not fit.
        """
        frozen = [task for task in self.model.tasks if isinstance(task, FrozenEncoderRegressionTask)]
        reports = [task.load_frozen_parts(self.model) for task in frozen]
        if self.regression_checkpoint is None:
            return reports
        tasks = [task for task in self.model.tasks if isinstance(task, WeightedPoolingObjectHitRegressionTask)]
        if len(tasks) != 1:
            raise CheckpointError(
                f"regression_checkpoint needs a model with one WeightedPoolingObjectHitRegressionTask, not {len(tasks)}"
            )
        return [*reports, str(load_regression_task(self.regression_checkpoint, tasks[0]))]

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimiser, and the learning rate of each step."""
        cycle = self.lrs_config
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ValueError("the learning rate needs the length of the training: set trainer.max_epochs or max_steps")
        optimizer = self.make_optimizer(fused="mixed" not in str(self.trainer.precision))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cycle.at(step, int(steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def make_optimizer(self, fused: bool = True) -> torch.optim.Optimizer:
        """Optimiser of the parameters that are not frozen, with learning rate 1, to be multiplied by the step's.

        Args:
            fused: Use torch's fused AdamW, with which Lightning does not clip gradients in mixed precision.
        """
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        decay = self.lrs_config.weight_decay
        if self.optimizer == "Lion":
            return Lion(parameters, lr=1.0, weight_decay=decay)
        return AdamW(parameters, lr=1.0, weight_decay=decay, fused=fused)

    def on_train_epoch_start(self) -> None:
        """Makes the random numbers of an epoch a function of (seed, epoch, rank): a continued run repeats them."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        state = np.random.SeedSequence((seed, self.current_epoch, self.global_rank)).generate_state(1)
        torch.manual_seed(int(state[0]))
        self._epoch_start = time.monotonic()
        self._epoch_events = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch.

        Raises:
            FloatingPointError: If the loss is NaN or infinite, with the step and the terms.
        """
        inputs, targets = batch
        _, loss, events = self._matched_loss(inputs, targets, "train")
        self._epoch_events += events
        speed = self._epoch_events * self.trainer.world_size / (time.monotonic() - self._epoch_start)
        self.log_dict({"loss": loss.detach(), "events/s": speed}, prog_bar=True, logger=False, batch_size=events)
        learning_rate = self.optimizers().param_groups[0]["lr"]
        self.log_dict({"train/loss_step": loss.detach(), "train/learning_rate": learning_rate}, batch_size=events)
        return loss

    def on_train_epoch_end(self) -> None:
        """Puts the means of the epoch on disk before the checkpoint: a continued run then has every row once."""
        means = {name: value for name, value in self.trainer.callback_metrics.items() if name.startswith("train/")}
        for logger in self.loggers:
            logger.log_metrics({"epoch": self.current_epoch, **means}, step=self.global_step - 1)
            logger.save()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics of one batch."""
        inputs, targets = batch
        outputs, _, events = self._matched_loss(inputs, targets, "val")
        self._add_metrics(self.model.predict(outputs), targets, events)

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics."""
        self._log_metrics("val")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Loss, metrics and predictions of one batch, matched to the true particles.

        Returns:
            `inputs` and `targets` of the batch, and of the final layer `outputs` and `preds`: task -> name -> tensor,
            with slot i assigned to particle i by the matcher, which uses the truth.
        """
        inputs, targets = batch
        outputs, _, events = self._matched_loss(inputs, targets, "test")
        preds = self.model.predict(outputs)
        self._add_metrics(preds, targets, events)
        return {"preds": preds["final"], "outputs": outputs["final"], "targets": targets, "inputs": inputs}

    def on_test_epoch_end(self) -> None:
        """Logs the metrics."""
        self._log_metrics("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Predictions of one batch, in the order of the queries; no truth is used.

        Returns:
            As `test_step`, but unmatched.
        """
        inputs, targets = batch
        outputs = self.model(inputs, intermediate=False)
        preds = self.model.predict(outputs)
        return {"preds": preds["final"], "outputs": outputs["final"], "targets": targets, "inputs": inputs}

    def _matched_loss(
        self, inputs: dict[str, Tensor], targets: dict[str, Tensor], stage: str
    ) -> tuple[Outputs, Tensor, int]:
        """Matched outputs, total loss and number of events; every term is logged."""
        outputs = self.model.match(self.model(inputs), targets)
        losses = dict(_flatten(self.model.loss(outputs, targets)))
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        if not torch.isfinite(loss):
            terms = ", ".join(f"{name} = {value.item():g}" for name, value in losses.items() if not value.isfinite())
            raise FloatingPointError(
                f"{stage} step {self.global_step} of epoch {self.current_epoch}: the loss is {loss.item():g}"
                f" ({terms or 'the sum overflows'}); events {targets['sample_id'].tolist()}"
            )
        events = len(targets["sample_id"])
        options = {"batch_size": events, "on_step": False, "on_epoch": True, "sync_dist": True}
        options["logger"] = stage != "train"  # see on_train_epoch_end
        self.log(f"{stage}/loss", loss.detach(), prog_bar=stage == "val", **options)
        self.log_dict({f"{stage}/{name}": value.detach() for name, value in losses.items()}, **options)
        return outputs, loss, events

    def _add_metrics(self, preds: Outputs, targets: dict[str, Tensor], events: int) -> None:
        for task, metrics in self.model.metrics(preds, targets).items():
            self._metrics.add({f"final_{task}_{name}": value for name, value in metrics.items()}, events)

    def _log_metrics(self, stage: str) -> None:
        means = self._metrics.collect(self.trainer.world_size)
        self.log_dict({f"{stage}/{name}": value for name, value in means.items()}, sync_dist=True)


def _flatten(losses: Outputs) -> Iterator[tuple[str, Tensor]]:
    for layer, tasks in losses.items():
        for task, terms in tasks.items():
            for term, value in terms.items():
                yield f"{layer}_{task}_{term}", value
