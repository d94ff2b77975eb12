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
from hitpool.export.empty_slots import Results, are_empty, threshold_of, without_empty
from hitpool.export.metadata import OUTPUTS, TRACK_THRESHOLD
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
        threshold: Track probability from which the parameters of a slot are compared, see
            `hitpool.export.empty_slots`; 0 for all slots.
    """

    hits: Tensor
    valid: Tensor
    expected: Results
    exempt: Tensor
    threshold: float = 0.0

    def differences(self, got: Results) -> tuple[Tensor, Tensor, Tensor]:
        """Largest difference of each output in each event, [B]; see `largest_difference`.

        Args:
            got: Parameters [B, N, K], track probability [B, N] and hit probability [B, N, M].
        """
        one, two, three = map(largest_difference, without_empty(got, self.expected, self.threshold), self.expected)
        return one, two, three


@dataclass(frozen=True)
class Agreement:
    """How well an exported model agrees with the original.

    Args:
        events: Number of events.
        exempt: Those among them that rounding alone may change.
        excused: Those of these that differ more than is allowed.
        slots: Number of slots of all events.
        empty: Those whose parameters were not compared, because both models find no track in them.
        worst: Largest difference of each output in the others, |got - expected| / (1 + |expected|).
    """

    events: int
    exempt: int
    excused: int
    slots: int
    empty: int
    worst: dict[str, float]


def expected_of(model: DeployedModel, batches: Iterable[tuple[Tensor, Tensor]]) -> list[Case]:
    """Runs the model, and finds the events that rounding alone may change.

    Those are events that differ by more than a fifth of `TOLERANCE` when the network computes in float64, such as
    tracks of few hits that no fit determines; events with an assignment or validity probability within `MARGIN` of a
    threshold at which a hit is pooled, fitted or attended to, anywhere in the network, or a track probability within
    `MARGIN` of that of a track; and events with the azimuth of a track within `PHI_MARGIN` of +-pi. Parameters of slots
    that hold no track count in none of these.

    Args:
        model: The model.
        batches: hits [B, M, C] and valid [B, M].
    """
    exact = copy.deepcopy(model).double()
    answers = [_answer(model, exact, *batch) for batch in batches]
    threshold = threshold_of([answer.results for answer in answers], TRACK_THRESHOLD)
    return [_case(model, answer, threshold) for answer in answers]


class _Answer(NamedTuple):
    """What the model says of a batch, what it says in float64, and whether a decision was close, bool [B]."""

    hits: Tensor
    valid: Tensor
    results: Results
    rounded: Results
    close: Tensor


def _answer(model: DeployedModel, exact: DeployedModel, hits: Tensor, valid: Tensor) -> _Answer:
    close = torch.zeros(len(hits), dtype=torch.bool)
    with torch.no_grad():
        with _decisions(model) as found:
            results = model(hits, valid)
        rounded = exact(hits, valid)
    for own in found:
        close |= own
    return _Answer(hits, valid, results, rounded, close)


def _case(model: DeployedModel, answer: _Answer, threshold: float) -> Case:
    parameters, track, _ = answer.results
    case = Case(answer.hits, answer.valid, answer.results, answer.close, threshold)
    exempt = case.exempt.clone()
    if threshold:
        exempt |= (track.double() - threshold).abs().lt(MARGIN).any(-1)
    for difference in case.differences(answer.rounded):
        exempt |= ~(difference <= UNSTABLE * TOLERANCE)
    for number, field in enumerate(model.parameters_out):
        if quantity_of(field) == "phi":
            azimuth = parameters[..., number].abs()  # [B, N]
            exempt |= ((azimuth - math.pi).abs().lt(PHI_MARGIN) & (track >= threshold)).any(-1)
    return case._replace(exempt=exempt)


def compare(run: Run, cases: Sequence[Case], format: str) -> Agreement:
    """Compares an exported model with the original; NaN agrees with NaN.

    All probabilities are compared, and the parameters of the slots that hold a track in one of the two; of the others
    only whether they are finite.

    Args:
        run: The exported model.
        cases: Events, and what the original says of them.
        format: Name of the format, for the message.

    Raises:
        RuntimeError: If an event differs by more than `TOLERANCE` that rounding alone would not change, or more than a
            fifth of all events do.
    """
    worst, events, exempt, excused, slots, empty = dict.fromkeys(OUTPUTS, 0.0), 0, 0, 0, 0, 0
    for case in cases:
        results = run(case.hits, case.valid)
        for name, got, wanted in zip(OUTPUTS, results, case.expected, strict=True):
            if got.shape != wanted.shape or got.dtype != wanted.dtype:
                raise RuntimeError(
                    f"{format} export: {name} of the exported model has shape {list(got.shape)} and type {got.dtype}, "
                    f"expected {list(wanted.shape)} and {wanted.dtype}"
                )
        differs = torch.zeros(len(case.hits), dtype=torch.bool)
        for name, difference in zip(OUTPUTS, case.differences(results), strict=True):
            wrong = ~(difference <= TOLERANCE)
            if (wrong & ~case.exempt).any():
                raise RuntimeError(
                    f"{format} export: the exported model differs by {difference[wrong].max():g} in {name}, for hits "
                    f"of shape {list(case.hits.shape)}, allowed is {TOLERANCE:g}; no file was written"
                )
            worst[name] = max([worst[name], *difference[~wrong].tolist()])
            differs |= wrong
        events, exempt, excused = events + len(differs), exempt + int(case.exempt.sum()), excused + int(differs.sum())
        skipped = are_empty(results, case.expected, case.threshold)
        slots, empty = slots + skipped.numel(), empty + int(skipped.sum())
    if excused > MOST_EXCUSED * events:
        raise RuntimeError(
            f"{format} export: the exported model differs in {excused} of the {events} events of the check by more "
            f"than {TOLERANCE:g}, and rounding alone changes the original as much: that many "
            "cannot be excused; no file was written. If these were random hits, name a data set with --events"
        )
    return Agreement(events, exempt, excused, slots, empty, worst)


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
