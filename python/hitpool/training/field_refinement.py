"""Second phase of a training, for the magnetic field: the map that makes the momenta of the track fit right."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hitpool.fits import LearnedField, ToroidFit
from hitpool.fits.gathered import gather_hits
from hitpool.nn import MaskFormer
from hitpool.nn.fields import stack_fields
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.training.assigned import assigned
from hitpool.training.late_training import Refinement, Sample, train_part

TRACKS, HELD_TRACKS = 8000, 1000  # that are enough to train on, and for the validation
STEPS, BATCH_SIZE, LEARNING_RATE = 320, 50, 0.02
RELATIVE, ABSOLUTE = 0.025, 2e-4  # resolution of q / pT: in units of itself, and in 1/GeV
PRIOR = 0.2  # spread of the logarithm of a factor


@torch.no_grad()
def describe_tracks(
    network: MaskFormer,
    task: WeightedPoolingObjectHitRegressionTask,
    batches: Iterable[Any],
    device: torch.device,
    number: int,
) -> Sample:
    """Gathers the hits of tracks.

    Args:
        network: The network, in evaluation mode.
        task: Its task with the track fit.
        batches: Inputs and targets, batch by batch.
        device: Where it computes.
        number: Tracks after which no more batches are read.

    Returns:
        Hits [P, K, 10] and logits [P, 1, K] of the tracks whose q / pT the fit finds within a factor of 2, and true q /
        pT [P].
    """
    fit = task.track_fit
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    assert isinstance(fit, ToroidFit)
    for inputs, targets, logits in assigned(network, task, batches, device):
        valid, there = inputs[f"{task.input_hit}_valid"], targets[f"{task.target_object}_valid"]
        hits = stack_fields(inputs, task.input_hit, fit.inputs)
        hits, probability, _ = gather_hits(
            hits, hits.new_zeros(hits.shape[-1]), logits, valid, task.assignment_threshold, fit.max_hits
        )
        physical = torch.stack([targets[f"{task.target_object}_{field}"] for field in task.fields], dim=-1)  # [B, N, K]
        true = task.fitted.chosen(physical.double())[..., 0]
        hits, logits, true = hits[there.flatten()], probability.logit()[there.flatten()].unsqueeze(1), true[there]
        ratio = fit(hits, logits, threshold=0.0)["qpt"].squeeze(1) / true
        good = (ratio > 0.5) & (ratio < 2)
        kept.append((hits[good], logits[good], true[good]))
        if sum(len(part) for *_, part in kept) >= number:
            break
    hits, logits, true = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return {"hits": hits, "logits": logits}, {"qpt": true}


def field_loss(fit: ToroidFit, number: int, kept: dict[str, Tensor], true: dict[str, Tensor]) -> Tensor:
    r"""Mean of $\log(1 + r^2 / 2)$, with the residual r of q / pT in units of about its resolution, and the prior.

    Args:
        fit: The track fit, in a `LearnedField`.
        number: Tracks of the training, by which the prior, a Gaussian of the logarithms of the factors, is divided.
        kept: Hits and logits of some tracks, see `describe_tracks`.
        true: Their q / pT.
    """
    qpt = fit(kept["hits"], kept["logits"], threshold=0.0)["qpt"].squeeze(1)
    pull = (qpt - true["qpt"]) / (RELATIVE * true["qpt"].abs() + ABSOLUTE)
    assert isinstance(fit.field, LearnedField)
    prior = (fit.field.log_factors / PRIOR).square().sum() / 2
    return (pull.square() / 2).log1p().mean() + prior / number


def refine_field(
    network: MaskFormer,
    task: WeightedPoolingObjectHitRegressionTask,
    training: Iterable[Any],
    validation: Iterable[Any],
    device: torch.device,
    seed: int,
    title: str | None,
) -> str:
    """Trains the learned field of a track fit.

    Args:
        network: The network, in evaluation mode.
        task: Its task with a track fit in a `LearnedField`.
        training: Batches of the training events.
        validation: Batches of the validation events.
        device: Where it computes.
        seed: Of the order of the tracks.
        title: Of the progress bar; None for no bar.

    Returns:
        What was done, in half a line.
    """
    fit = task.track_fit
    assert isinstance(fit, ToroidFit)
    kept = describe_tracks(network, task, training, device, TRACKS)
    held = describe_tracks(network, task, validation, device, HELD_TRACKS)
    number = len(kept[1]["qpt"])
    if not (number and len(held[1]["qpt"])):
        return "the field is not trained, because the fit finds no momentum within a factor of 2"
    size = min(BATCH_SIZE, number)
    settings = Refinement(math.ceil(STEPS * size / number), size, LEARNING_RATE, weight_decay=0.0)
    loss = partial(field_loss, fit, number)
    steps, before, after = train_part(fit.field, loss, kept, held, settings, size, seed, title)
    fit.field.requires_grad_(False)
    if not after < before:
        return f"the field stays, because its validation loss went from {before:.4f} to {after:.4f}"
    return f"field: {number} tracks, {steps} steps, validation loss {before:.4f} -> {after:.4f}"
