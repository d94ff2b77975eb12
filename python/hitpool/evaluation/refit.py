"""The hits that a model assigns, fitted by ACTS: another estimate of its tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from hitpool.acts.columns import KALMAN_FEATURES, MEASURED
from hitpool.acts.installed import require_acts
from hitpool.data import EventDataset
from hitpool.evaluation.arrays import on_disk, to_numpy
from hitpool.evaluation.beam_line import at_beam_line, check_known, innermost_hits
from hitpool.evaluation.reference import reference_estimate
from hitpool.evaluation.tracks import Estimate, Tracks
from hitpool.files import hits_of_events

LEAST_HITS = 3  # six coordinates for five parameters
PREFIX = "kalman_"


class Refit(Callback):
    """Fits the hits of the tracks of a test with the Kalman filter of ACTS.

    The tracks are those of particles, declared valid, of at least `LEAST_HITS` hits. The filter starts at the model's
    parameters, with the wide errors of `hitpool acts`.

    Args:
        dataset: The test events, of `hitpool acts`.
        track: Name of the predicted objects.
        particle: Name of the true objects.
        hit: Name of the hits.
        fields: Fields by quantity.

    Attributes:
        tried: Number of tracks to fit.

    Raises:
        ModuleNotFoundError: If ACTS is not installed.
        ValueError: If the data lack columns that a fit needs, or the model lacks parameters.
    """

    def __init__(self, dataset: EventDataset, track: str, particle: str, hit: str, fields: Mapping[str, str]) -> None:
        require_acts()
        index = dataset.index
        if missing := [column for column in MEASURED if column not in index.hit_columns]:
            raise ValueError(
                f"data set {index.directory} cannot be fitted by ACTS: expected the hit columns of 'hitpool acts', "
                f"without {', '.join(missing)}; available: {', '.join(index.hit_columns)}"
            )
        check_known(fields)
        self.dataset = dataset
        self.track, self.particle, self.hit = track, particle, hit
        self.fields = dict(fields)
        generator = index.generator if isinstance(index.generator, Mapping) else {}
        self.muons = generator.get("profile", "muons") == "muons"
        self.tried = 0
        self._fits = np.full((len(index), dataset.max_particles, len(KALMAN_FEATURES)), np.nan)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Fits the tracks of one batch."""
        from hitpool.acts.refit import Candidates, refit

        targets = outputs["targets"]
        preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
        numbers = to_numpy(targets["sample_id"])
        wanted = to_numpy(targets[f"{self.particle}_valid"] & preds[f"{self.track}_valid"])  # [B, N]
        assigned = to_numpy(preds[f"{self.track}_{self.hit}_valid"])  # [B, N, M]
        values = {
            quantity: to_numpy(preds[name])
            for quantity, field in self.fields.items()
            if (name := f"{self.track}_{field}") in preds
        }
        slots, events = [], []
        stored = hits_of_events(self.dataset.index, numbers, MEASURED)
        for i, hits in enumerate(stored):
            own = on_disk(self.dataset, numbers[i], assigned[i])  # [N, hits on disk]
            innermost = innermost_hits(hits[:, :3].astype(np.float64), own)
            start = at_beam_line({quantity: array[i] for quantity, array in values.items()}, innermost)
            usable = np.isfinite(start).all(-1) & (start[:, -1] != 0) & (own.sum(-1) >= LEAST_HITS)
            chosen = np.flatnonzero(wanted[i] & usable)
            slots.append(chosen)
            events.append(Candidates(hits, [np.flatnonzero(own[slot]) for slot in chosen], start[chosen]))
        self.tried += int(wanted.sum())
        for number, chosen, fits in zip(numbers, slots, refit(events, self.muons), strict=True):
            self._fits[number, chosen] = fits

    def estimate(self, tracks: Tracks) -> Estimate:
        """The fits of the particles of a test.

        Args:
            tracks: The particles.
        """
        named = {
            name.removeprefix(PREFIX): self._fits[..., column] for column, name in enumerate(KALMAN_FEATURES)
        }  # [events of the folder, N] each
        errors = {name.removeprefix("sigma_"): named.pop(name) for name in list(named) if name.startswith("sigma_")}
        return reference_estimate(named, errors, tracks)

    @property
    def failed(self) -> int:
        """Number of tracks without a result."""
        return self.tried - int(np.isfinite(self._fits).all(-1).sum())
