"""Second phase of a training: one part of a task is fitted while everything in front of it stays as it is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sized
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import lightning.pytorch.callbacks
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Trainer
from rich.progress import track
from torch import Tensor

from hitpool.data import HitDataModule
from hitpool.fits import LearnedField, ToroidFit
from hitpool.nn import MaskFormer
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.training.checkpoints import AtomicCheckpointIO
from hitpool.training.field_refinement import refine_field
from hitpool.training.hit_refinement import refine_hits
from hitpool.training.late_training import Refinement, Sample, train_part
from hitpool.training.progress import say
from hitpool.training.threads import Threads

if TYPE_CHECKING:
    from hitpool.training.module import TrackingModule


# The callbacks that average weights; Lightning before 2.6 has none, and nothing is an instance of ().
AVERAGING: Any = getattr(lightning.pytorch.callbacks, "WeightAveraging", ())


class Batches(Sized, Iterable[Any], Protocol):
    """Inputs and targets, batch by batch."""


def refined_task(network: MaskFormer) -> WeightedPoolingObjectHitRegressionTask:
    """The task of a network that a second phase trains.

    Raises:
        ValueError: There is not exactly one that has a part for it.
    """
    trained = [task for task in network.tasks if task not in network.frozen]
    tasks = [task for task in trained if task.late_part is not None]
    if len(tasks) != 1:
        raise ValueError(
            "model.refinement: expected one WeightedPoolingObjectHitRegressionTask with a response, or without a "
            f"track_fit, got {len(tasks)} in {[task.name for task in trained]}; or set its epochs to 0"
        )
    return cast(WeightedPoolingObjectHitRegressionTask, tasks[0])


@torch.no_grad()
def describe(
    network: MaskFormer, batches: Batches, device: torch.device, title: str | None, limit: int | None = None
) -> Sample:
    """Runs the network over events and keeps what is in front of the part that the second phase trains.

    Args:
        network: The network, in evaluation mode.
        batches: Inputs and targets, batch by batch.
        device: Where it computes.
        title: Of the progress bar; None for no bar.
        limit: Number of batches that are read; None for all.

    Returns:
        Descriptions and targets of the true particles, each with the track that matching gives it.
    """
    task = refined_task(network)
    kept: list[dict[str, Tensor]] = []
    true: list[dict[str, Tensor]] = []
    task.describing = True
    try:
        total = len(batches) if limit is None else min(limit, len(batches))
        chosen = islice(batches, total)
        for inputs, targets in track(chosen, description=title, total=total) if title else chosen:
            inputs, targets = move_data_to_device((inputs, targets), device)
            outputs = network.match(network(inputs, intermediate=False), targets)["final"][task.name]
            valid = targets[f"{task.target_object}_valid"]
            kept.append({key: value[valid] for key, value in outputs.items()})
            names = [f"{task.target_object}_{field}" for field in task.fields]
            true.append({name: targets[name][valid] for name in names})
    finally:
        task.describing = False
    described, own = ({key: torch.cat([part[key] for part in parts]) for key in parts[0]} for parts in (kept, true))
    return described, own


def refine(
    network: MaskFormer,
    training: Batches,
    validation: Batches,
    settings: Refinement,
    seed: int,
    limit: int | None = None,
    bars: bool = False,
) -> str:
    """Trains the late part of the pooled regression.

    Args:
        network: The trained network; its other parts stay as they are.
        training: Batches of the training events, as the data module gives them.
        validation: Batches of the validation events.
        settings: How.
        seed: Of the order of the tracks and of dropout: equal seeds give equal weights.
        limit: Number of training batches that are used; None for all.
        bars: Show progress bars.

    Returns:
        What was done, in one line.
    """
    task = refined_task(network)
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    title, report = "second phase" if bars else None, "second phase: "
    if isinstance(task.track_fit, ToroidFit) and isinstance(task.track_fit.field, LearnedField):
        report += refine_field(network, task, islice(training, limit), validation, device, seed, title) + "; "
    if task.hit_response is not None:
        report += refine_hits(network, task, islice(training, limit), validation, device, settings, seed, title) + "; "
    start = time.monotonic()
    kept = describe(network, training, device, "fitting the training tracks" if bars else None, limit)
    held = describe(network, validation, device, "fitting the validation tracks" if bars else None)
    fitted = time.monotonic() - start
    features = task.late_key("features")
    for events, sample in {"training": kept, "validation": held}.items():
        if not len(sample[0][features]):
            network.train(was_training)
            return f"second phase: left out, because there is no true particle in the {events} events"
    if task.response is not None:
        task.response.scale_features(kept[0][features])
    part = task.late_part
    assert part is not None
    steps, before, after = train_part(part, task.late_loss, kept, held, settings, settings.batch_size, seed, title)
    part.requires_grad_(task.response is None)
    if not after < before:
        if task.hit_response is not None:
            task.hit_response.declare(trained=False)
        network.train(was_training)
        return (
            f"{report}not used, because the validation loss went from {before:.4f} to {after:.4f}; lower "
            "model.refinement.learning_rate, or train on more tracks"
        )
    report += (
        f"{len(kept[0][features])} tracks described in {fitted:.1f} s, {steps} steps in "
        f"{time.monotonic() - start - fitted:.1f} s, validation loss {before:.4f} -> {after:.4f}"
    )
    if task.response is not None:
        task.response.declare(trained=True)
    network.train(was_training)
    return report


def second_phase(
    trainer: Trainer,
    model: TrackingModule,
    datamodule: HitDataModule,
    checkpoint: Path | None,
    checkpoint_io: AtomicCheckpointIO,
    seed: int,
    bars: bool,
) -> None:
    """Trains what the configuration leaves for the end, in the first process, and puts it into the checkpoint.

    Args:
        trainer: The Trainer, whose training has ended.
        model: The model; it gets the weights of the checkpoint.
        datamodule: The data of the training.
        checkpoint: The checkpoint that will be used; None for the weights in memory.
        checkpoint_io: Reads and writes it; what is read is kept for the test that follows.
        seed: See `refine`.
        bars: Show progress bars.
    """
    if not model.refinement.epochs or trainer.limit_train_batches == 0:
        return
    if trainer.is_global_zero:
        content = checkpoint_io.look_into(checkpoint) if checkpoint else {"state_dict": model.state_dict()}
        before = content["state_dict"]
        model.load_state_dict(before)
        if "before_second_phase" in content:
            say("second phase: done before, with the settings of then")
        else:
            say("second phase: the assignment stays as it is")
            callbacks = trainer.callbacks  # type: ignore[attr-defined]
            if any(isinstance(callback, Threads) and callback.chooses for callback in callbacks):
                torch.set_num_threads(1)  # its steps are too short to share; more threads wait for a busy neighbour
            model.to(trainer.strategy.root_device)
            limit = cast(int, trainer.num_training_batches) * trainer.world_size
            say(model.refine(datamodule, seed, limit, bars))
            after = model.cpu().state_dict()
            changed = {name: value for name, value in before.items() if not torch.equal(value, after[name])}
            if checkpoint and changed:
                content |= {"state_dict": after, "before_second_phase": changed}
                checkpoint_io.save_checkpoint(content, checkpoint)
    trainer.strategy.barrier()
    # their averages are in the checkpoint, and would replace it in the test
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    trainer.callbacks = [  # type: ignore[attr-defined]
        callback for callback in callbacks if not isinstance(callback, AVERAGING)
    ]
