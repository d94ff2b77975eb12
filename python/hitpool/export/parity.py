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
from hitpool.nn import AmbiguityResolution
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
    tracks of few hits that no fit determines; events with a probability within `MARGIN` of the threshold at which a
    track pools or fits a hit, the decoder attends to a hit or a query, or a slot holds a track; events in which a hit
    may change its track (`hitpool.nn.AmbiguityResolution.is_close`); and events with the azimuth of a track within
    `PHI_MARGIN` of +-pi. What only changes the parameters of a slot without a track does not
    count.

    Args:
        model: The model.
        batches: hits [B, M, C] and valid [B, M].
    """
    exact = copy.deepcopy(model).double()
    answers = [_answer(model, exact, *batch) for batch in batches]
    threshold = threshold_of([answer.results for answer in answers], TRACK_THRESHOLD)
    return [_case(model, answer, threshold) for answer in answers]


class _Answer(NamedTuple):
    """What the model says of a batch, what it says in float64, and which decisions were close."""

    hits: Tensor
    valid: Tensor
    results: Results
    rounded: Results
    close: _Close


def _answer(model: DeployedModel, exact: DeployedModel, hits: Tensor, valid: Tensor) -> _Answer:
    with torch.no_grad():
        with _decisions(model) as close:
            results = model(hits, valid)
        rounded = exact(hits, valid)
    return _Answer(hits, valid, results, rounded, close)


def _case(model: DeployedModel, answer: _Answer, threshold: float) -> Case:
    parameters, track, _ = answer.results
    held = track >= threshold  # [B, N]
    exempt = torch.zeros(len(track), dtype=torch.bool)
    for in_event in answer.close.in_events:
        exempt |= in_event
    for in_slot in answer.close.in_slots:
        exempt |= (in_slot & held).any(-1)
    if threshold:
        exempt |= (track.double() - threshold).abs().lt(MARGIN).any(-1)
    compared = Case(answer.hits, answer.valid, answer.results, exempt, threshold)
    for difference in compared.differences(answer.rounded):
        exempt = exempt | ~(difference <= UNSTABLE * TOLERANCE)
    for number, field in enumerate(model.parameters_out):
        if quantity_of(field) == "phi":
            azimuth = parameters[..., number].abs()  # [B, N]
            exempt = exempt | ((azimuth - math.pi).abs().lt(PHI_MARGIN) & held).any(-1)
    return compared._replace(exempt=exempt)


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


class _Close:
    """Which decisions were close when a model ran.

    Args:
        in_events: That concern a whole event, bool [B] each: a hit that is attended to, a query that is hidden.
        in_slots: That concern the parameters of a slot alone, bool [B, N] each: a hit that is pooled or fitted.
    """

    def __init__(self) -> None:
        self.in_events: list[Tensor] = []
        self.in_slots: list[Tensor] = []


@contextmanager
def _decisions(model: DeployedModel) -> Iterator[_Close]:
    """Collects while the model runs where a probability is close to the threshold at which it decides."""
    network, found = model.network, _Close()
    logits: list[tuple[nn.Module, Tensor]] = []

    def look(task: nn.Module, inputs: Any, outputs: dict[str, Tensor]) -> None:
        logits.extend((task, logit) for name, logit in outputs.items() if name.endswith("_logit"))

    ambiguous: list[Tensor] = []

    def look_at_claims(resolution: AmbiguityResolution, inputs: Any, outputs: Any) -> None:
        ambiguous.append(resolution.is_close(inputs[0], model.mask_task.pred_threshold, MARGIN))

    handles = [task.register_forward_hook(look) for task in network.tasks if isinstance(task, nn.Module)]
    if network.ambiguity is not None:
        handles.append(network.ambiguity.register_forward_hook(look_at_claims))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    masks = [logit for task, logit in logits if task is model.mask_task]  # of the decoder's layers, then the final ones
    if network.decoder.mask_attention and model.mask_task.mask_attn:
        found.in_events += [_near(logit, model.mask_task.mask_attn_threshold).flatten(1).any(1) for logit in masks[:-1]]
    if model.valid_task.mask_queries:
        found.in_events += [_near(logit, 0.5).any(1) for task, logit in logits if task is model.valid_task]
    revised = [logit for task, logit in logits if task in model.pooling and logit.ndim == 3]
    for task in model.pooling:
        found.in_slots += [_near(logit, task.assignment_threshold).any(-1) for logit in (*masks[-1:], *revised)]
    found.in_events += ambiguous


def _near(logit: Tensor, threshold: float) -> Tensor:
    """Whether rounding moves a probability across a threshold."""
    return (logit.double().sigmoid() - threshold).abs() < MARGIN
