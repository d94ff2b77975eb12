"""The tracks that a model finds, in the order of its queries: no truth is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from hitpool.evaluation.finding.found import Found, Named, belonging
from hitpool.evaluation.finding.particles import Particles
from hitpool.evaluation.quantities import IMPACT, complete, with_direction
from hitpool.quantity import quantity_of


class ModelTracks(Callback):
    """Collects, in a prediction of the test events, the queries that are declared valid, with their hits.

    Args:
        particles: The particles of the events.
        track: Name of the predicted objects: the predictions are `<track>_valid`, `<track>_<hit>_valid`,
            `<track>_<field>`, `<track>_<field>_error`.
        particle: Name of the true objects: the targets are `<particle>_<hit>_valid`.
        hit: Name of the hits.
        fields: Fields by quantity.
    """

    def __init__(self, particles: Particles, track: str, particle: str, hit: str, fields: Mapping[str, str]) -> None:
        self.particles = particles
        self.track = track
        self.particle = particle
        self.hit = hit
        self.fields = {
            quantity_of(quantity) if quantity_of(quantity) in IMPACT else quantity: field
            for quantity, field in fields.items()
        }
        self._parts: list[Found] = []

    @property
    def found(self) -> Found:
        """All tracks."""
        return Found.concatenate(self._parts)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keeps one batch."""
        targets, particles = outputs["targets"], self.particles
        preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
        valid = preds[f"{self.track}_valid"]  # [B, Q]
        assigned = preds[f"{self.track}_{self.hit}_valid"] & valid[..., None] & targets[f"{self.hit}_valid"][:, None]
        event, query, hit = (numbers.cpu().numpy() for numbers in assigned.nonzero(as_tuple=True))  # [H] each
        chosen = valid.cpu().numpy()
        number = np.cumsum(chosen).reshape(chosen.shape) - 1  # of the track of a valid query
        row = particles.rows(targets["sample_id"].cpu().numpy())  # [B]
        owner = _owner(targets[f"{self.particle}_{self.hit}_valid"], particles.first[row])[event, hit]
        values = self._of_tracks(preds, valid, "")
        errors = self._of_tracks(preds, valid, "_error")
        values, errors = with_direction(complete(values), errors)
        of_tracks = row[np.nonzero(chosen)[0]]  # [T]
        self._parts.append(belonging(particles, of_tracks, number[event, query], owner, values, errors))

    def _of_tracks(self, preds: Mapping[str, Tensor], valid: Tensor, suffix: str) -> Named:
        """Predictions of the valid queries by quantity, [T] each."""
        named = {quantity: f"{self.track}_{field}{suffix}" for quantity, field in self.fields.items()}
        return {
            quantity: preds[name][valid].detach().double().cpu().numpy()
            for quantity, name in named.items()
            if name in preds
        }


def _owner(belongs: Tensor, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Particle of each hit [B, M], -1 if there is none, from the hits of the particles of each event [B, N, M]."""
    slot = torch.where(belongs.any(1), belongs.to(torch.uint8).argmax(1), -1).cpu().numpy()  # [B, M]
    return np.where(slot >= 0, first[:, None] + slot, -1)
