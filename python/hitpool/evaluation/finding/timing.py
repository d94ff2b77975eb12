"""CPU time per event of a model, on one core."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from hitpool.config import Objects
from hitpool.data import EventDataset

EVENTS = 200  # that are timed in batches
SINGLE_EVENTS = 100  # one at a time


@dataclass(frozen=True)
class ModelTime:
    """CPU time per event in ms, from hits in memory to tracks, without reading and input features.

    Args:
        batched: In batches of `batch_size` events, of similar length where they are in the evaluation.
        single: One event at a time.
        batch_size: Events of the largest batch.
    """

    batched: float
    single: float
    batch_size: int


class Clock(Callback):
    """Measures each step of a prediction with one thread; the first batch, in which memory is taken, does not count."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.events: list[int] = []

    def on_predict_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Starts the clock."""
        self._start = time.process_time()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Stops it."""
        self.seconds.append(time.process_time() - self._start)
        self.events.append(len(outputs["targets"]["sample_id"]))

    @property
    def milliseconds(self) -> float:
        """Mean per event."""
        return 1e3 * sum(self.seconds[1:]) / sum(self.events[1:])


def time_model(objects: Objects) -> ModelTime:
    """Times a model on the first of its test events.

    Args:
        objects: The model and its data.
    """
    batches = objects.datamodule.whole_dataloader("test").sampler
    dataset = objects.datamodule.dataset("test")
    chosen, number = [], 0
    for batch in batches:
        chosen.append(batch)
        number += len(batch)
        if number >= EVENTS and len(chosen) > 1:
            break
    single = np.random.default_rng(0).permutation(len(dataset))[: SINGLE_EVENTS + 1]
    batched = _clock(objects, dataset, [chosen[0], *chosen])
    alone = _clock(objects, dataset, [[int(event)] for event in (single[0], *single)])
    return ModelTime(batched.milliseconds, alone.milliseconds, max(batched.events))


def _clock(objects: Objects, dataset: EventDataset, batches: list[Any]) -> Clock:
    clock, threads = Clock(), torch.get_num_threads()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        precision=objects.config["trainer"].get("precision"),
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    torch.set_num_threads(1)
    try:
        loader: DataLoader[Any] = DataLoader(dataset, sampler=batches, batch_size=None)
        trainer.predict(objects.model, loader, return_predictions=False)
    finally:
        torch.set_num_threads(threads)
    return clock
