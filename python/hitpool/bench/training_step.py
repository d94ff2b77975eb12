"""The training step of a packaged configuration on simulated events, with `weighted_pool` and without it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import lightning.pytorch  # noqa: F401  (it sets the levels of its loggers when it is imported)
import torch
from torch import Tensor
from torch.profiler import record_function

from hitpool.bench.alternatives import expand
from hitpool.bench.timing import medians
from hitpool.config import Objects, load
from hitpool.tasks import weighted_pooling

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]
PART = "hitpool part: "


def part(name: str) -> record_function:
    """Context that gives the profiler's events in it the name of a part; see `hitpool.bench.shares`."""
    return record_function(PART + name)


def prepare(config: str, events: Path, batch_size: int | None = None) -> Objects:
    """Builds data, untrained model and trainer of a configuration, with the targets standardised.

    Args:
        config: Name of a packaged configuration.
        events: Folder of a data set.
        batch_size: Events in a batch; that of the configuration if None.
    """
    for library in ("lightning.pytorch", "lightning.fabric"):  # they tell of seeds and devices
        logging.getLogger(library).setLevel(logging.WARNING)
    overrides = {f"data.{part}_dir": str(events) for part in ("train", "val", "test")}
    overrides |= {"runs": str(events.parent / "runs"), "trainer.accelerator": "cpu", "trainer.callbacks": None}
    overrides |= {"trainer.logger": False, "trainer.enable_progress_bar": False}
    if batch_size is not None:
        overrides["data.batch_size"] = batch_size
    objects = load(config, overrides)
    values = objects.datamodule.train_targets()
    for task in objects.model.model.tasks:
        if hasattr(task, "fit_standardization"):
            task.fit_standardization(values)
    return objects


class TrainingStep:
    """One step as `hitpool fit` does it, without its logging: forward, matching, losses, backward, optimiser.

    Args:
        objects: What `prepare` returned.
    """

    def __init__(self, objects: Objects) -> None:
        self.network = objects.model.model
        self.parameters = list(self.network.parameters())
        self.clip = objects.trainer.gradient_clip_val
        self.optimizer = objects.model.make_optimizer()
        for group in self.optimizer.param_groups:
            group["lr"] = objects.model.lrs_config.initial

    def __call__(self, batch: Batch) -> int:
        """Trains on a batch.

        Returns:
            Number of events.
        """
        inputs, targets = batch
        self.network.train()
        outputs = self.network(inputs)
        with part("matching"):
            outputs = self.network.match(outputs, targets)
        with part("losses"):
            losses = self.network.loss(outputs, targets)
            terms = [value for tasks in losses.values() for terms in tasks.values() for value in terms.values()]
            loss = torch.stack(terms).sum()
        self.optimizer.zero_grad()
        with part("autograd engine"):
            loss.backward()
        with part("gradient clipping"):
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        with part("optimiser"):
            self.optimizer.step()
        return len(targets["sample_id"])


@contextmanager
def pooling_by(pool: Callable[..., Tensor]) -> Iterator[None]:
    """Lets the regression tasks pool by another function while the context lasts.

    Args:
        pool: Takes logits, features and valid as `hitpool.weighted_pool` does.
    """

    def call(logits: Tensor, features: Tensor, valid: Tensor, threshold: float) -> Tensor:
        return pool(logits, features, valid)

    with patch.object(weighted_pooling, "weighted_pool", call):
        yield


def compare_pools(objects: Objects, repeat: int) -> dict[str, float]:
    """Speed of the training step with `weighted_pool` and with the broadcast form, taking turns on each batch.

    Args:
        objects: What `prepare` returned; the threshold of the pooling is the default.
        repeat: Batches that count.

    Returns:
        `weighted_pool` and `expand` -> events/s.
    """
    batches = list(objects.datamodule.train_dataloader())
    step = TrainingStep(objects)

    def turns() -> Callable[[], int]:
        remaining = itertools.cycle(batches)
        return lambda: step(next(remaining))

    ours, theirs = turns(), turns()

    def broadcast() -> None:
        with pooling_by(expand):
            theirs()

    seconds = medians({"weighted_pool": ours, "expand": broadcast}, repeat)
    return {name: events_per_batch(batches) / value for name, value in seconds.items()}


def events_per_batch(batches: Sequence[Batch]) -> float:
    """Mean number of events of a batch."""
    return sum(len(targets["sample_id"]) for _, targets in batches) / len(batches)
