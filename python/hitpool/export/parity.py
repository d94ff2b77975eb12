"""Does an exported model say the same as the one it was made of?"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hitpool.export.arrays import Run
from hitpool.export.deployed import DeployedModel
from hitpool.export.metadata import OUTPUTS
from hitpool.quantity import quantity_of

TOLERANCE = 1e-3
UNSTABLE = 0.2  # of the tolerance, by rounding alone
MARGIN = 1e-5  # of probabilities; rounding moves them by 1e-6
PHI_MARGIN = 1e-2  # rad
MOST_EXCUSED = 0.2


class Case(NamedTuple):
    """Events and what the model says of them.

    Args:
        hits: [B, M, C].
        valid: bool [B, M].
        expected: Parameters [B, N, K], track probability [B, N] and hit probability [B, N, M].
        exempt: Whether rounding alone may change the results, bool [B].
    """

    hits: Tensor
    valid: Tensor
    expected: tuple[Tensor, Tensor, Tensor]
    exempt: Tensor


@dataclass(frozen=True)
class Agreement:
    """How well an exported model agrees with the original.

    Args:
        events: Number of events.
        excused: Those among them that differ more than is allowed, and that rounding alone would change.
        worst: Largest difference of each output in the others, |got - expected| / (1 + |expected|).
    """

    events: int
    excused: int
    worst: dict[str, float]


def expected_of(model: DeployedModel, batches: Iterable[tuple[Tensor, Tensor]]) -> list[Case]:
    """Runs the model, and finds the events that rounding alone may change.

    Those are events that differ by more than a fifth of `TOLERANCE` when the network computes in float64, such as
    tracks of few hits that no fit determines; events with an assignment or validity probability within `MARGIN` of a
    threshold at which a hit is pooled, fitted or attended to, anywhere in the network; and events with an azimuth
    within `PHI_MARGIN` of +-pi.

    Args:
        model: The model.
        batches: hits [B, M, C] and valid [B, M].
    """
    exact = copy.deepcopy(model).double()
    return [_expected(model, exact, *batch) for batch in batches]


def _expected(model: DeployedModel, exact: DeployedModel, hits: Tensor, valid: Tensor) -> Case:
    with torch.no_grad():
        with _decisions(model) as close:
            results = model(hits, valid)
        rounded = exact(hits, valid)
    exempt = torch.zeros(len(hits), dtype=torch.bool)
    for own in close:
        exempt |= own
    for one, other in zip(results, rounded, strict=True):
        exempt |= ~(largest_difference(one, other) <= UNSTABLE * TOLERANCE)
    for number, field in enumerate(model.parameters_out):
        if quantity_of(field) == "phi":
            azimuth = results[0][..., number].abs()  # [B, N]
            exempt |= (azimuth - math.pi).abs().lt(PHI_MARGIN).any(-1)
    return Case(hits, valid, results, exempt)


def compare(run: Run, cases: Sequence[Case], format: str) -> Agreement:
    """Compares an exported model with the original; NaN agrees with NaN.

    Args:
        run: The exported model.
        cases: Events, and what the original says of them.
        format: Name of the format, for the message.

    Raises:
        RuntimeError: If an event differs by more than `TOLERANCE` that rounding alone would not change, or more than a
            fifth of all events do.
    """
    worst, events, excused = dict.fromkeys(OUTPUTS, 0.0), 0, 0
    for case in cases:
        differs = torch.zeros(len(case.hits), dtype=torch.bool)
        for name, got, wanted in zip(OUTPUTS, run(case.hits, case.valid), case.expected, strict=True):
            if got.shape != wanted.shape or got.dtype != wanted.dtype:
                raise RuntimeError(
                    f"{format} export: {name} of the exported model has shape {list(got.shape)} and type {got.dtype}, "
                    f"expected {list(wanted.shape)} and {wanted.dtype}"
                )
            difference = largest_difference(got, wanted)  # [B]
            wrong = ~(difference <= TOLERANCE)
            if (wrong & ~case.exempt).any():
                raise RuntimeError(
                    f"{format} export: the exported model differs by {difference[wrong].max():g} in {name}, for hits "
                    f"of shape {list(case.hits.shape)}, allowed is {TOLERANCE:g}; no file was written"
                )
            worst[name] = max([worst[name], *difference[~wrong].tolist()])
            differs |= wrong
        events, excused = events + len(differs), excused + int(differs.sum())
    if excused > MOST_EXCUSED * events:
        raise RuntimeError(
            f"{format} export: the exported model differs in {excused} of the {events} events of the check by more "
            f"than {TOLERANCE:g}, and rounding alone changes the original as much: that many "
            "cannot be excused; no file was written. If these were random hits, name a data set with --events"
        )
    return Agreement(events, excused, worst)


def largest_difference(got: Tensor, wanted: Tensor) -> Tensor:
    """Largest |got - wanted| / (1 + |wanted|) of each event, 0 where both are NaN or the same infinity.

    Args:
        got: [B, ...].
        wanted: [B, ...].

    Returns:
        [B], NaN where one of the two is.
    """
    same = (got == wanted) | (got.isnan() & wanted.isnan())
    difference = ((got - wanted).abs() / (1 + wanted.abs())).masked_fill(same, 0).flatten(1)
    return torch.cat([difference, difference.new_zeros(len(difference), 1)], dim=1).amax(1)


@contextmanager
def _decisions(model: DeployedModel) -> Iterator[list[Tensor]]:
    """Collects while the model runs which events have a probability close to a threshold, [B] each."""
    network, found = model.network, list[Tensor]()
    of_hits = {task.assignment_threshold for task in model.pooling}
    if network.decoder.mask_attention and model.mask_task.mask_attn:
        of_hits.add(model.mask_task.mask_attn_threshold)
    thresholds = {3: of_hits, 2: {0.5} if model.valid_task.mask_queries else set()}  # by the rank of the logits

    def look(task: nn.Module, inputs: Any, outputs: dict[str, Tensor]) -> None:
        for name, logit in outputs.items():
            if name.endswith("_logit"):
                probability = logit.double().sigmoid().flatten(1)
                for threshold in thresholds[logit.ndim]:
                    found.append((probability - threshold).abs().lt(MARGIN).any(1))

    handles = [task.register_forward_hook(look) for task in network.tasks if isinstance(task, nn.Module)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
