"""A finished transformer run once over events, so that fits with their responses can be tried on what it assigns."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitpool.evaluation.bound import bound_of_data_set
from hitpool.evaluation.collector import CERTAIN, FITTED
from hitpool.evaluation.quantities import complete
from hitpool.evaluation.tracks import BOUND, Estimate, Tracks
from hitpool.nn import MaskFormer
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.training.late_training import Refinement, Sample, train_part
from hitpool.training.refinement import refined_task

QUANTITIES = ("pt", "eta", "phi", "q", "qpt")


class Batch(NamedTuple):
    """What the pooled regression reads, with the queries in the order of the particles.

    Args:
        x: Embeddings and raw fields.
        logits: Assignment [B, N, M].
        found: Whether the track of a particle is declared valid, bool [B, N].
        targets: Truth.
    """

    x: dict[str, Any]
    logits: Tensor
    found: Tensor
    targets: dict[str, Tensor]


@torch.no_grad()
def frozen_batches(network: MaskFormer, batches: Collection[Any]) -> list[Batch]:
    """Runs everything in front of the pooled regression, which loses its trained responses: one fit per track.

    Args:
        network: A finished network, in evaluation mode.
        batches: Inputs and targets, batch by batch.
    """
    task, kept = refined_task(network), []
    for response in (task.response, task.hit_response):
        if response is not None:
            response.declare(trained=False)
    hook = task.register_forward_pre_hook(
        lambda _, args, kwargs: kept.append((args[0], kwargs["outputs"])), with_kwargs=True
    )
    embeddings = f"{task.input_object}_embed"
    result = []
    for inputs, targets in batches:
        kept.clear()
        network(inputs, intermediate=False)
        x, done = kept[-1]  # the last call is that of the final layer
        pair = network.pair("final", done, targets)  # [B, N]
        event = torch.arange(len(pair)).unsqueeze(-1)
        preds = {
            name: value
            for each in network.tasks
            if each.name in done
            for name, value in each.predict(done[each.name]).items()
        }
        logits = next(outputs[task.logit_key] for outputs in done.values() if task.logit_key in outputs)
        found = preds[f"{task.output_object}_valid"][event, pair]
        result.append(Batch({**x, embeddings: x[embeddings][event, pair]}, logits[event, pair], found, targets))
    hook.remove()
    return result


def true_logits(task: WeightedPoolingObjectHitRegressionTask, batch: Batch) -> Tensor:
    """Certain assignment of the true hits [B, N, M]."""
    belongs = batch.targets[f"{task.target_object}_{task.input_hit}_valid"]
    return torch.where(belongs, CERTAIN, -CERTAIN)


@torch.no_grad()
def describe(
    task: WeightedPoolingObjectHitRegressionTask,
    batches: Iterable[Batch],
    true_hits: bool = False,
    prepare: Callable[[Batch], None] = lambda batch: None,
) -> Sample:
    """What the response reads of the true particles, and their targets, as the second phase of a training has it.

    Args:
        task: The pooled regression.
        batches: Events.
        true_hits: Whether the hits are the true ones.
        prepare: Called with each batch before it is fitted.
    """
    kept, true = [], []
    task.describing = True
    for batch in batches:
        prepare(batch)
        logits = true_logits(task, batch) if true_hits else batch.logits
        outputs = task(batch.x, outputs={"assignment": {task.logit_key: logits}})
        valid = batch.targets[f"{task.target_object}_valid"]
        kept.append({name: outputs[name][valid] for name in map(task.late_key, task.late_names)})
        names = [f"{task.target_object}_{field}" for field in task.fields]
        true.append({name: batch.targets[name][valid] for name in names})
    task.describing = False
    return tuple({name: torch.cat([part[name] for part in parts]) for name in parts[0]} for parts in (kept, true))


def train_response(
    task: WeightedPoolingObjectHitRegressionTask, train: Sample, held: Sample, settings: Refinement
) -> None:
    """Gives the task a new response, trained as in the second phase of a training.

    Args:
        task: The pooled regression.
        train: Training tracks.
        held: Validation tracks.
        settings: How.

    Raises:
        RuntimeError: It has not learned anything.
    """
    task.response = type(task.response)(task.response.sectors)
    task.response.scale_features(train[0][task.late_key("features")])
    _, before, after = train_part(task.late_part, task.late_loss, train, held, settings, settings.batch_size, 0, None)
    if not after < before:
        raise RuntimeError(f"the validation loss went from {before:.4f} to {after:.4f}: train on more events")


@torch.no_grad()
def estimate(task: WeightedPoolingObjectHitRegressionTask, sample: Sample) -> Tensor:
    """q/pT, eta and phi of the response [P, 3]."""
    return task.response({name: sample[0][task.late_key(name)] for name in task.response.describes})[0]


def tracks(
    task: WeightedPoolingObjectHitRegressionTask,
    batches: Iterable[Batch],
    estimates: dict[str, Tensor],
    generator: Any,
) -> Tracks:
    """Particles whose track is declared valid, one in each row, with estimates of all particles.

    Args:
        task: The pooled regression.
        batches: The events.
        estimates: q/pT, eta and phi [P, 3] by name.
        generator: What the metadata of the data set say of its generator.
    """
    event, found, true = [], [], {quantity: [] for quantity in QUANTITIES}
    for batch in batches:
        valid = batch.targets[f"{task.target_object}_valid"]
        event.append(batch.targets["sample_id"].unsqueeze(1).expand_as(valid)[valid])
        found.append(batch.found[valid])
        for quantity, values in true.items():
            values.append(batch.targets[f"{task.target_object}_truthMuon_{quantity}"][valid])
    numbers, chosen = torch.cat(event), torch.cat(found)
    order = numbers[chosen].argsort(stable=True)

    def select(values: Tensor) -> NDArray[np.float64]:
        return values[chosen][order].double().numpy()[:, None]

    known = {quantity: select(torch.cat(values)) for quantity, values in true.items()}
    slots = np.ones((len(order), 1), bool)
    columns = {name: zip(FITTED, map(select, own.unbind(-1)), strict=True) for name, own in estimates.items()}
    named = {name: Estimate(slots, complete(dict(own))) for name, own in columns.items()}
    result = Tracks(numbers[chosen][order].numpy(), slots, known, named)
    bound = bound_of_data_set(generator, result)
    return result if bound is None else result.with_estimate(BOUND, bound)
