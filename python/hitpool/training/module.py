"""Training, validation, test and prediction steps of a tracking model."""

import math
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, Literal, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from hitpool.data import HitDataModule
from hitpool.fits.late import LateModule
from hitpool.nn import MaskFormer
from hitpool.training.checkpoints import follow_moved_files
from hitpool.training.continuation import continue_exactly
from hitpool.training.freezing import named_parts
from hitpool.training.late_training import Refinement
from hitpool.training.limits import limited_fields
from hitpool.training.loggers import MetricsTable
from hitpool.training.metric_means import MetricMeans
from hitpool.training.optimizers import AdamW, Lion
from hitpool.training.progress import say
from hitpool.training.refinement import refine
from hitpool.training.schedule import OneCycle
from hitpool.training.transfer import Start

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]
Outputs = dict[str, dict[str, dict[str, Tensor]]]  # layer -> task -> name
UNTRAINED = "the parameters are those of the pooled regression, without errors"
DEFAULT_CYCLE = OneCycle()
NO_REFINEMENT = Refinement()
NAMED_EVENTS = 8  # in a message about a batch


class TrackingModule(LightningModule):
    """Trains a model of the `MaskFormer` interface: forward, match, loss, predict, metrics.

    The loss is the sum over layers, tasks and their terms. Every term is logged as `<stage>/<layer>_<task>_<term>`,
    every metric of the final layer as `<stage>/final_<task>_<metric>`.

    Args:
        name: Name of the training; its runs are written to `runs/<name>`.
        model: Network with tasks, see `hitpool.nn.MaskFormer`.
        optimizer: AdamW (Loshchilov and Hutter, arXiv:1711.05101) or Lion (Chen et al., arXiv:2302.06675).
        lrs_config: Learning rate over the training, and weight decay.
        refinement: Second phase of the training, by default none.
        regression_checkpoint: Checkpoint of hepattn or hitpool whose pooled regression a new training starts from, as
            far as it fits; see `hitpool.training.transfer.load_regression_task`.
        network_checkpoint: Checkpoint of hitpool whose network, without the pooled regression, a new training starts
            from; see `hitpool.training.transfer.load_network`.
        frozen: Parts of the network that stay as they are in `network_checkpoint`, without gradients, losses and
            dropout: `input_nets`, `encoder`, `decoder`, `tasks` or single ones such as `tasks.0`.

    Raises:
        ValueError: A name in `frozen` is not that of a part, or `network_checkpoint` is missing.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        optimizer: Literal["AdamW", "Lion"] = "AdamW",
        lrs_config: OneCycle = DEFAULT_CYCLE,
        refinement: Refinement = NO_REFINEMENT,
        regression_checkpoint: str | None = None,
        network_checkpoint: str | None = None,
        frozen: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.model = cast(MaskFormer, model)
        self.optimizer = optimizer
        self.lrs_config = lrs_config
        self.refinement = refinement
        parts = named_parts(self.model, frozen) if frozen else {}
        if parts:
            if network_checkpoint is None:
                raise ValueError(f"model.frozen: {', '.join(parts)} need model.network_checkpoint, which is not set")
            self.model.freeze(parts.values())
        self.start = Start(network_checkpoint, regression_checkpoint, list(parts))
        self._metrics = MetricMeans()
        self._train_means = MetricMeans()
        self._rows: int | None = None  # of metrics.csv when a stop added rows that only a stopped training has
        self._gradients: dict[str, Tensor] = {}

    def configure_callbacks(self) -> list[Callback]:
        """Gives the training targets to the tasks that standardise, before callbacks copy the model in their setup.

        A checkpoint, loaded later, replaces the result.
        """
        if self.trainer.state.fn == TrainerFn.FITTING:
            values = self.trainer.datamodule.train_targets()  # type: ignore[attr-defined]
            for task in self.model.tasks:
                task.fit_standardization(values)
        return []

    def on_fit_start(self) -> None:
        """Loads weights of other trainings, unless this one is continued and has them already; see its errors."""
        if self.trainer.ckpt_path is None:
            for report in self.start.load(self.model):
                say(report)

    def refine(self, datamodule: HitDataModule, seed: int = 0, limit: int | None = None, bars: bool = False) -> str:
        """Runs the second phase of the training.

        Args:
            datamodule: The data of the training.
            seed: Of the order of the tracks.
            limit: Training batches that are used, as far as `refinement.max_events` allows; None for all.
            bars: Show progress bars.

        Returns:
            What was done, in one line.

        Raises:
            ValueError: If the model has no part for it.
        """
        batches = datamodule.whole_dataloader("train"), datamodule.whole_dataloader("val")
        if self.refinement.max_events is not None:
            most = math.ceil(self.refinement.max_events / datamodule.batch_size)
            limit = most if limit is None else min(limit, most)
        return refine(self.model, *batches, self.refinement, seed, limit, bars)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
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
            return Lion(parameters, lr=1.0, weight_decay=decay)  # type: ignore[call-arg]
        return AdamW(parameters, lr=1.0, weight_decay=decay, fused=fused)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the rest of the epoch needs: its means and gradients so far, and the rows of metrics.csv."""
        for logger in self.loggers:
            logger.save()
        checkpoint["metrics_rows"] = self._table_rows() if self._rows is None else self._rows
        mine = {"means": self._train_means.state_dict(), "gradients": self._accumulated_gradients()}
        states = [mine] * self.trainer.world_size
        if self.trainer.world_size > 1:
            torch.distributed.all_gather_object(states, mine)
        checkpoint["epoch_so_far"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes to the batch after which the checkpoint of a training that is continued was written."""
        if self._trainer is None:
            return
        for callback in self.trainer.checkpoint_callbacks:
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state:
                assert callback.dirpath is not None
                follow_moved_files(state, callback.dirpath)
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        checkpoint["state_dict"] |= checkpoint.get("before_second_phase", {})
        place = continue_exactly(checkpoint["loops"]["fit_loop"])
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(datamodule, HitDataModule):
            datamodule.continue_epoch(*place)
        states = checkpoint.get("epoch_so_far", [])
        if self.global_rank < len(states):
            self._train_means.load_state_dict(states[self.global_rank]["means"])
            self._gradients = states[self.global_rank]["gradients"]

    def on_train_start(self) -> None:
        """Restores the gradients of steps whose batches were not all read; what a second phase learned is outdated."""
        for task in self.model.tasks:
            if isinstance(task.late_part, LateModule):
                task.late_part.declare(trained=False)
        for name, gradient in self._gradients.items():
            parameter = self.get_parameter(name)
            parameter.grad = gradient.to(parameter.device)
        self._gradients = {}

    def on_train_epoch_start(self) -> None:
        """Starts the clock."""
        self._epoch_start = time.monotonic()
        self._epoch_events = 0

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Makes the random numbers of a batch a function of (seed, epoch, batch, rank): a continued run repeats them.

        No hook of a batch comes earlier.
        """
        if self.trainer.training:
            loop = self.trainer.fit_loop.epoch_loop
            seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
            place = (seed, self.current_epoch, loop.batch_progress.current.ready, self.global_rank)
            torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
            loop._batches_that_stepped = self.global_step  # Lightning may count one step less after a restart
            self._rows = None
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch.

        Raises:
            FloatingPointError: If the loss is NaN or infinite, with the step and the terms.
        """
        inputs, targets = batch
        _, losses, events = self._matched_loss(inputs, targets, "train")
        self._train_means.add(losses, events)
        means = self._train_means.of_this_process()
        self.trainer.callback_metrics.update({f"train/{name}": mean for name, mean in means.items()})
        self._last_loss = losses["loss"].detach()
        self._epoch_events += events
        speed = self._epoch_events * self.trainer.world_size / (time.monotonic() - self._epoch_start)
        self.log_dict({"loss": self._last_loss, "events/s": speed}, prog_bar=True, logger=False, batch_size=events)
        return losses["loss"]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Puts loss and learning rate on disk before the checkpoint of the step."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            learning_rate = optimizer.param_groups[0]["lr"]
            row = {"train/loss_step": self._last_loss, "train/learning_rate": learning_rate}
            self._log_row(row, step=self.global_step)

    def on_train_epoch_end(self) -> None:
        """Puts the means of the epoch on disk before the checkpoint: a continued run then has every row once."""
        means = self.train_means()
        self.trainer.callback_metrics.update(means)
        if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._train_means.clear()
        else:
            self._keep_rows()
        self._log_row(means, step=self.global_step - 1)

    def train_means(self) -> dict[str, Tensor]:
        """Means of the loss and its terms over the events of this epoch so far; all processes must call it."""
        means = self._train_means.means(self.trainer.world_size)
        return {f"train/{name}": torch.tensor(mean) for name, mean in means.items()}

    def on_validation_start(self) -> None:
        """Tells the validations of a plan from the one with which a training is stopped."""
        trainer = self.trainer
        if trainer.should_stop and trainer.val_check_batch is not None:
            loop = trainer.fit_loop.epoch_loop
            batch = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx
            if (batch + 1) % trainer.val_check_batch != 0:
                self._keep_rows()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics of one batch."""
        inputs, targets = batch
        outputs, events = self._evaluate(inputs, targets, "val")
        self._add_metrics(self.model.predict(outputs), targets, events)

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics."""
        self._log_metrics("val")

    def say_what_is_untrained(self) -> None:
        """Says what the parameters of tracks are without the second phase."""
        for task in self.model.tasks:
            if isinstance(task.late_part, LateModule) and not task.late_part.ready:
                say(f"task {task.name}: the response of its track fit is not trained; {UNTRAINED}", sys.stderr)

    def on_test_start(self) -> None:
        """Says what the results of the test are of."""
        self.say_what_is_untrained()

    def on_predict_start(self) -> None:
        """Says what the predictions are of."""
        self.say_what_is_untrained()

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Loss, metrics and predictions of one batch, matched to the true particles.

        Returns:
            `inputs` and `targets` of the batch, and of the final layer `outputs` and `preds`: task -> name -> tensor,
            with slot i assigned to particle i by the matcher, which uses the truth.
        """
        inputs, targets = batch
        outputs, events = self._evaluate(inputs, targets, "test")
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

    def _evaluate(self, inputs: dict[str, Tensor], targets: dict[str, Tensor], stage: str) -> tuple[Outputs, int]:
        """Matched outputs and number of events; the loss and every term are logged."""
        outputs, losses, events = self._matched_loss(inputs, targets, stage)
        options: dict[str, Any] = {"batch_size": events, "on_step": False, "on_epoch": True, "sync_dist": True}
        self.log(f"{stage}/loss", losses.pop("loss"), prog_bar=stage == "val", **options)
        self.log_dict({f"{stage}/{name}": value for name, value in losses.items()}, **options)
        return outputs, events

    def _matched_loss(
        self, inputs: dict[str, Tensor], targets: dict[str, Tensor], stage: str
    ) -> tuple[Outputs, dict[str, Tensor], int]:
        """Matched outputs, loss and its terms by name, and number of events."""
        outputs = self.model.match(self.model(inputs), targets)
        losses = dict(_flatten(self.model.loss(outputs, targets)))
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        if not torch.isfinite(loss):
            terms = ", ".join(f"{name} = {value.item():g}" for name, value in losses.items() if not value.isfinite())
            raise FloatingPointError(
                f"{stage} step {self.global_step} of epoch {self.current_epoch + 1}: the loss is {loss.item():g}"
                f" ({terms or 'the sum overflows'}); {_events(targets['sample_id'].tolist())}"
            )
        return outputs, {"loss": loss, **losses}, len(targets["sample_id"])

    def _add_metrics(self, preds: Outputs, targets: dict[str, Tensor], events: int) -> None:
        for task, metrics in self.model.metrics(preds, targets).items():
            self._metrics.add({f"final_{task}_{name}": value for name, value in metrics.items()}, events)

    def _log_metrics(self, stage: str) -> None:
        means = self._metrics.collect(self.trainer.world_size)
        if self.trainer.state.fn != TrainerFn.FITTING:
            for line in limited_fields(self.model, means):
                say(line, sys.stderr)
        self.log_dict({f"{stage}/{name}": value for name, value in means.items()}, sync_dist=True)

    def _log_row(self, metrics: dict[str, Any], step: int) -> None:
        for logger in self.loggers:
            logger.log_metrics({"epoch": self.current_epoch, **metrics}, step=step)
            logger.save()

    def _table_rows(self) -> int:
        return sum(logger.rows for logger in self.loggers if isinstance(logger, MetricsTable))

    def _keep_rows(self) -> None:
        """Marks the rows so far as those that a continued training keeps."""
        self._rows = self._table_rows() if self._rows is None else self._rows

    def _accumulated_gradients(self) -> dict[str, Tensor]:
        """Gradients of the batches since the last step of the optimiser."""
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        processed = progress.current.processed  # type: ignore[attr-defined]
        if progress.is_last_batch or processed % self.trainer.accumulate_grad_batches == 0:
            return {}
        return {name: parameter.grad for name, parameter in self.named_parameters() if parameter.grad is not None}


def _events(numbers: list[int]) -> str:
    rest = f" and {len(numbers) - NAMED_EVENTS} more" if len(numbers) > NAMED_EVENTS else ""
    return f"events {numbers[:NAMED_EVENTS]}{rest}"


def _flatten(losses: Outputs) -> Iterator[tuple[str, Tensor]]:
    for layer, tasks in losses.items():
        for task, terms in tasks.items():
            for term, value in terms.items():
                yield f"{layer}_{task}_{term}", value
