"""Simulated muons with their true hits, as the toroid fit reads them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hitpool.simulation import HIT_FEATURES, Settings, generate_events, toroid_field

COLUMNS = [f"globEdge{end}{axis}" for end in ("High", "Low") for axis in "XYZ"]
COLUMNS += ["driftR", "covYY", "covXX", "technology"]
MILLIMETRES = torch.tensor([1e-3] * 7 + [1e-6] * 2 + [1.0], dtype=torch.float64)


class TrueField(nn.Module):
    """The field in which the events are simulated."""

    def forward(self, r: Tensor, z: Tensor, phi: Tensor) -> Tensor:
        phi = phi.expand_as(r)
        return torch.from_numpy(toroid_field(*(v.numpy() for v in (r * phi.cos(), r * phi.sin(), z))))


@pytest.fixture(scope="session")
def muons() -> SimpleNamespace:
    """200 events: `hits` [B, M, 10] in m, `valid` [B, M], `logits` [B, 2, M] of the true hits, truth [B, 2] by name."""
    rng = np.random.Generator(np.random.PCG64(5))
    events = generate_events(rng, 200, Settings())
    size = int(events.num_hits.max())
    hits, link = torch.zeros(200, size, 10, dtype=torch.float64), torch.full((200, size), -1)
    truth = torch.full((200, 2, 4), torch.nan, dtype=torch.float64)
    column = [HIT_FEATURES.index(f"spacePoint_{name}") for name in COLUMNS]
    first = first_track = 0
    for event, (number, tracks) in enumerate(zip(events.num_hits, events.num_tracks, strict=True)):
        own = torch.from_numpy(events.hits[first : first + number]).double()
        hits[event, :number] = own[:, column] * MILLIMETRES
        link[event, :number] = own[:, HIT_FEATURES.index("spacePoint_truthLink")].long()
        truth[event, :tracks] = torch.from_numpy(events.tracks[first_track : first_track + tracks]).double()
        first, first_track = first + number, first_track + tracks
    pt, eta, phi, charge = truth.unbind(-1)
    return SimpleNamespace(
        hits=hits,
        valid=torch.arange(size) < torch.from_numpy(events.num_hits).unsqueeze(-1),
        logits=torch.where(link.unsqueeze(1) == torch.arange(2).unsqueeze(-1), 6.0, -6.0),
        there=~pt.isnan(),
        truth={"qpt": charge / pt, "eta": eta, "phi": phi},
    )
