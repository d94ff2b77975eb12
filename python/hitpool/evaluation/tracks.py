"""One table of particles and the estimates of their tracks, from which every number is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.evaluation.quantities import RESOLUTIONS, UNITS, Resolution, complete, resolution_of

MODEL, TRIVIAL, TRUE_HITS, FIT_ALONE, REFIT, BOUND = "model", "trivial", "true hits", "fit alone", "refit", "bound"
"""Names of estimates."""


@dataclass(frozen=True)
class Estimate:
    """Tracks in the slots of the particles.

    Args:
        valid: Whether there is a track, [E, N] bool.
        values: Its parameters by quantity, [E, N] each; none of the physical bound.
        decides: Whether `valid` was decided without the truth, so that tracks can be missing and wrong.
        errors: Standard deviations of the residuals by quantity, as far as they are estimated, [E, N] each.
        hits: Hits assigned to each track, [E, N] integers.
        shared_hits: Hits of particle i that are assigned to track j, [E, N, N] integers.
        confusion: Hits of particles and other hits (rows) that are assigned to the track of their particle, to another
            track only, and to none (columns), [E, 2, 3] integers.
    """

    valid: NDArray[np.bool_]
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    decides: bool = False
    errors: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    hits: NDArray[np.int64] | None = None
    shared_hits: NDArray[np.int64] | None = None
    confusion: NDArray[np.int64] | None = None


def counted(hits: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Numbers of hits that were counted.

    Args:
        hits: One of the fields of `Estimate` or `Tracks`.
    """
    assert hits is not None, "hits were not counted, see Tracks.with_hits"
    return hits


@dataclass(frozen=True)
class Tracks:
    """Particles of E events in N slots, and estimates of their tracks.

    Args:
        event: Number of each event in its data set, ascending, [E].
        particle: Whether the slot holds a particle, [E, N] bool.
        true: True parameters by quantity, [E, N] each; NaN in empty slots.
        estimates: Estimates by name.
        hits: True hits of each particle, [E, N] integers; None if hits were not counted.
        num_hits: Hits of the event, [E] integers, likewise.
        resolutions: What is compared of quantities that have names of their own.
        units: Units of parameters where they are not those of `UNITS`.
    """

    event: NDArray[np.int64]
    particle: NDArray[np.bool_]
    true: dict[str, NDArray[np.float64]]
    estimates: dict[str, Estimate]
    hits: NDArray[np.int64] | None = None
    num_hits: NDArray[np.int64] | None = None
    resolutions: dict[str, Resolution] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event)

    @property
    def measured(self) -> dict[str, Estimate]:
        """Estimates that have values: all but the bound."""
        return {name: own for name, own in self.estimates.items() if own.values}

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Particles of which there are all estimates, [E, N] bool."""
        everywhere: NDArray[np.bool_] = np.logical_and.reduce([own.valid for own in self.measured.values()])
        return self.particle & everywhere

    @property
    def missing(self) -> dict[str, int]:
        """Number of particles without a track, by estimate."""
        return {name: int((self.particle & ~own.valid).sum()) for name, own in self.measured.items()}

    def resolution(self, quantity: str) -> Resolution:
        """What is compared of a quantity.

        Args:
            quantity: Key of `true` other than q.
        """
        return self.resolutions.get(quantity) or RESOLUTIONS.get(quantity) or resolution_of(quantity)

    def unit(self, quantity: str) -> str:
        """Unit of a parameter; empty if it has none, or it is not known.

        Args:
            quantity: Key of `true`.
        """
        return self.units.get(quantity, UNITS.get(quantity, ""))

    def only(self, estimates: Iterable[str], without: str = "") -> Tracks:
        """The tracks with some of the estimates, and without a parameter.

        Args:
            estimates: Their names.
            without: A quantity.
        """
        kept = {name: self.estimates[name] for name in estimates}
        for name, own in kept.items():
            kept[name] = replace(own, values={q: values for q, values in own.values.items() if q != without})
        return replace(self, true={q: values for q, values in self.true.items() if q != without}, estimates=kept)

    def select(self, index: NDArray[np.int64 | np.bool_]) -> Tracks:
        """Picks events.

        Args:
            index: Event indices (repetitions allowed) or a mask [E].

        Returns:
            The chosen events, in that order.
        """
        chosen: Tracks = _each(lambda array: array[index], self)
        return chosen

    @staticmethod
    def concatenate(parts: Sequence[Tracks]) -> Tracks:
        """Joins batches; an event that occurs twice (padding of a distributed sampler) is kept once.

        Args:
            parts: At least one batch, all with the same slots, estimates and quantities.

        Returns:
            All events, ordered by their number in the data set.

        Raises:
            ValueError: If there is no batch.
        """
        if not parts:
            raise ValueError("Tracks.concatenate: needs at least one batch, got none")
        joined: Tracks = _each(lambda *arrays: np.concatenate(arrays), *parts)
        return joined.select(np.unique(joined.event, return_index=True)[1])

    def completed(self) -> Tracks:
        """The tracks with the parameters that follow from the others, see `complete`."""
        estimates = {name: replace(own, values=complete(own.values)) for name, own in self.estimates.items()}
        return replace(self, true=complete(self.true), estimates=estimates)

    def with_estimate(self, name: str, estimate: Estimate) -> Tracks:
        """The tracks with another estimate, or with another one in place of that name.

        Args:
            name: Its name.
            estimate: The estimate.
        """
        return replace(self, estimates=self.estimates | {name: estimate})

    def with_hits(
        self, belongs: NDArray[np.bool_], assigned: NDArray[np.bool_], valid: NDArray[np.bool_], name: str = MODEL
    ) -> Tracks:
        """The tracks with the hits that an estimate assigns.

        Args:
            belongs: Whether hit m belongs to particle i, [E, N, M].
            assigned: Whether hit m is assigned to track j, [E, N, M].
            valid: False in padded hits, which are not counted, [E, M].
            name: Of the estimate.

        Raises:
            ValueError: If the shapes do not fit together.
        """
        shape = self.particle.shape + valid.shape[1:]
        for what, array in (("belongs", belongs), ("assigned", assigned)):
            if array.shape != shape:
                raise ValueError(f"Tracks.with_hits: {what} needs shape {shape}, got {array.shape}")
        belongs = belongs & valid[:, None] & self.particle[..., None]  # [E, N, M]
        assigned = assigned & valid[:, None]  # [E, N, M]
        # float32 counts exactly up to 2^24 and multiplies much faster than integers
        shared = belongs.astype(np.float32) @ assigned.astype(np.float32).swapaxes(1, 2)  # [E, N, N]
        own = replace(
            self.estimates[name],
            hits=assigned.sum(-1, dtype=np.int64),
            shared_hits=shared.astype(np.int64),
            confusion=_confusion(belongs, assigned & self.estimates[name].valid[..., None], valid),
        )
        counted = {"hits": belongs.sum(-1, dtype=np.int64), "num_hits": valid.sum(-1, dtype=np.int64)}
        return replace(self.with_estimate(name, own), **counted)


def _confusion(belongs: NDArray[np.bool_], assigned: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts as in `Estimate.confusion` from the hits of particles and of valid tracks [E, N, M]."""
    true, right = belongs.any(1), (belongs & assigned).any(1)  # [E, M]
    wrong = assigned.any(1) & ~right
    none = valid & ~right & ~wrong
    counts = [(hits & kind).sum(-1) for hits in (true, valid & ~true) for kind in (right, wrong, none)]
    return np.stack(counts, axis=-1).reshape(-1, 2, 3).astype(np.int64)


def residual_errors(
    errors: Mapping[str, NDArray[np.float64]],
    true: Mapping[str, NDArray[np.float64]],
    resolutions: Mapping[str, Resolution] = RESOLUTIONS,
) -> dict[str, NDArray[np.float64]]:
    """Standard deviations of residuals.

    Args:
        errors: Standard deviations of parameters by quantity.
        true: True parameters by quantity.
        resolutions: What is compared of them.
    """
    return {
        quantity: own / (np.abs(true[quantity]) if resolutions[quantity].relative else 1.0)
        for quantity, own in errors.items()
    }


def side_by_side(models: Mapping[str, Tracks]) -> Tracks:
    """The estimates of several models for the same particles.

    Args:
        models: Tracks of each model on the same data set, by name.

    Returns:
        The particles with the estimate of each model, without those with true hits.

    Raises:
        ValueError: If the models were not given the same particles.
    """
    first = next(iter(models.values()))
    for name, own in models.items():
        if not (np.array_equal(own.event, first.event) and np.array_equal(own.particle, first.particle)):
            raise ValueError(
                f"{name} was given other particles than {next(iter(models))}: {own.particle.sum()} in "
                f"{len(own)} events, expected {first.particle.sum()} in {len(first)}; "
                "data.max_particles and data.num_test must be the same"
            )
    true = {quantity: values for own in models.values() for quantity, values in own.true.items()}
    resolutions = {quantity: kind for own in models.values() for quantity, kind in own.resolutions.items()}
    estimates = {name: own.estimates[MODEL] for name, own in models.items()}
    return replace(first, true=true, estimates=estimates, resolutions=resolutions)


def _each(function: Callable[..., NDArray[Any]], first: Any, *others: Any) -> Any:
    """Applies a function to the arrays that are at the same place of tables."""
    if isinstance(first, np.ndarray):
        return function(first, *others)
    if is_dataclass(first) and not isinstance(first, type):
        names = [item.name for item in fields(first)]
        return replace(
            first, **{name: _each(function, *(getattr(own, name) for own in (first, *others))) for name in names}
        )
    if isinstance(first, dict):
        return {key: _each(function, *(own[key] for own in (first, *others))) for key in first}
    return first
