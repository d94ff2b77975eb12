"""Second phase of a training, for the hits: the response that revises their assignment from the fit of their track."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hitpool.fits import HitResponse
from hitpool.nn import MaskFormer
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.training.assigned import assigned
from hitpool.training.late_training import Refinement, Sample, train_part

HITS = 200_000  # that are enough to train on
SHARE = 8  # hits in a step for each track in a step of the response


@torch.no_grad()
def describe_hits(
    network: MaskFormer,
    task: WeightedPoolingObjectHitRegressionTask,
    batches: Iterable[Any],
    device: torch.device,
) -> Sample:
    """Fits tracks and keeps what their hit response reads, until there are 200,000 hits.

    Args:
        network: The network, in evaluation mode.
        task: Its task with the hit response.
        batches: Inputs and targets, batch by batch.
        device: Where it computes.

    Returns:
        Descriptions and logits of the hits that took part in the fit of a true particle, and whether they are its own.
    """
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    response = task.hit_response
    assert response is not None
    for inputs, targets, logits in assigned(network, task, batches, device):
        fit = task.fit_tracks({"inputs": inputs, f"{task.input_hit}_valid": inputs[f"{task.input_hit}_valid"]}, logits)
        chosen = fit["hit_taken"] & targets[f"{task.target_object}_valid"].unsqueeze(-1)
        own = targets[f"{task.target_object}_{task.input_hit}_valid"]
        kept.append((response.describe(fit, logits)[chosen], logits[chosen], own[chosen]))
        if sum(len(part) for *_, part in kept) >= HITS:
            break
    described, logits, own = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return {"described": described, "logits": logits}, {"own": own}


def hit_loss(response: HitResponse, kept: dict[str, Tensor], true: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy of some hits.

    Args:
        response: The hit response.
        kept: What `describe_hits` keeps.
        true: Whether they are the track's own.
    """
    own = true["own"]
    logits = response(kept["described"], torch.ones_like(own), kept["logits"])
    return binary_cross_entropy_with_logits(logits, own.to(logits.dtype))


def refine_hits(
    network: MaskFormer,
    task: WeightedPoolingObjectHitRegressionTask,
    training: Iterable[Any],
    validation: Iterable[Any],
    device: torch.device,
    settings: Refinement,
    seed: int,
    title: str | None,
) -> str:
    """Trains the hit response of a task.

    Args:
        network: The network, in evaluation mode.
        task: Its task with the hit response.
        training: Batches of the training events.
        validation: Batches of the validation events.
        device: Where it computes.
        settings: As for the tracks; a step has eight hits for each track that a step of theirs has.
        seed: Of the order of the hits.
        title: Of the progress bar; None for no bar.

    Returns:
        What was done, in half a line.
    """
    response = task.hit_response
    assert response is not None
    kept = describe_hits(network, task, training, device)
    held = describe_hits(network, task, validation, device)
    if not (len(kept[1]["own"]) and len(held[1]["own"])):
        return "the response of the hits is not trained, because no hit is assigned to the true particles"
    loss, size = partial(hit_loss, response), SHARE * settings.batch_size
    steps, before, after = train_part(response, loss, kept, held, settings, size, seed, title)
    response.requires_grad_(False)
    if not after < before:
        return (
            f"the response of the hits is not used, because its validation loss went from {before:.4f} to {after:.4f}"
        )
    response.declare(trained=True)
    return f"{len(kept[1]['own'])} hits, {steps} steps, validation loss {before:.4f} -> {after:.4f}"
