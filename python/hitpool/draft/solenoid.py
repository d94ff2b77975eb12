"""Whether the true tracks are circles around the z axis, and in which magnetic field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hitpool.data import EventDataset
from hitpool.fits import HelixFit

EVENTS, BATCH = 1000, 100
FEWEST_HITS, FEWEST_TRACKS = 4, 20
SURE = 20.0  # logit of an assignment
LARGEST_SPREAD = 0.3  # of the field that single tracks give, relative to it
FIELDS = 0.3, 5.0  # T, of solenoids that are in use


@dataclass(frozen=True)
class Bending:
    """What the true tracks say about the field along z.

    Attributes:
        field: Median of the field in T that circles through the true hits of a track give with its charge and momentum.
        spread: Half the width of the central 68 % of them, relative to the field.
        tracks: Number of tracks, the softer half of those with at least four hits.
    """

    field: float
    spread: float
    tracks: int

    @property
    def uniform(self) -> bool:
        """Whether tracks agree in the field, as they do in a solenoid."""
        return self.tracks >= FEWEST_TRACKS and self.spread <= LARGEST_SPREAD


@torch.no_grad()
def measure_bending(dataset: EventDataset) -> Bending:
    """Fits circles through the true hits of up to 1,000 events.

    Args:
        dataset: Its inputs are x, y and z in m, its targets charge and transverse momentum in GeV.

    Returns:
        What they say.
    """
    charge, pt = (f"{dataset.target_name}_{name}" for name in dataset.particles.fields)
    points = dataset.features.fields
    fit = HelixFit(hit_fields=points[:1], field=1.0, points=(points[0], points[1], points[2]), num_fits=1)
    for parameter in fit.parameters():  # all hits are equally precise
        nn.init.zeros_(parameter)
    fields, momenta = [], []
    for start in range(0, min(len(dataset), EVENTS), BATCH):
        inputs, targets = dataset[range(start, min(start + BATCH, len(dataset)))]
        hits = torch.stack([inputs[f"{dataset.input_name}_{name}"] for name in (*points, points[0])], -1)  # [B, M, 4]
        assigned = targets[f"{dataset.target_name}_{dataset.input_name}_valid"]  # [B, N, M]
        found = fit(hits, torch.where(assigned, SURE, -SURE), inputs[f"{dataset.input_name}_valid"])["qpt"]  # [B, N]
        chosen = targets[f"{dataset.target_name}_valid"] & (assigned.sum(-1) >= FEWEST_HITS)
        fields.append((found * targets[pt] / targets[charge])[chosen])
        momenta.append(targets[pt][chosen])
    field, momentum = torch.cat(fields).double().numpy(), torch.cat(momenta).numpy()
    if len(field) < FEWEST_TRACKS:
        return Bending(0.0, np.inf, len(field))
    field = field[momentum <= np.median(momentum)]
    low, middle, high = np.quantile(field, [0.16, 0.5, 0.84])
    return Bending(float(middle), float((high - low) / 2 / abs(middle)) if middle else np.inf, len(field))
