"""Inputs and truth of a few events for a single task."""

import pytest
import torch
from torch import Tensor

HIT_FIELDS = ["x", "y", "z"]


@pytest.fixture
def x() -> dict:
    """B = 4 events, N = 2 queries, M = 15 hits, D = 8 features; the last event has no valid hit."""
    generator = torch.Generator().manual_seed(5)
    valid = torch.arange(15) < torch.tensor([[15], [9], [1], [0]])
    return {
        "query_embed": torch.randn(4, 2, 8, generator=generator),
        "hit_embed": torch.randn(4, 15, 8, generator=generator),
        "hit_valid": valid,
        "inputs": {f"hit_{name}": torch.randn(4, 15, generator=generator) * valid for name in HIT_FIELDS},
    }


@pytest.fixture
def targets(x: dict) -> dict[str, Tensor]:
    """2, 1, 1 and no particles; 2 fields that are NaN in empty slots."""
    valid = torch.tensor([[True, True], [True, False], [True, False], [False, False]])
    nan = torch.nan
    link = torch.arange(15) % 3  # [M]
    mask = (link == torch.arange(2).view(1, 2, 1)) & x["hit_valid"].unsqueeze(1) & valid.unsqueeze(2)
    return {
        "particle_valid": valid,
        "particle_hit_valid": mask,
        "hit_valid": x["hit_valid"],
        "sample_id": torch.tensor([11, 22, 33, 44]),
        "particle_truthMuon_eta": torch.tensor([[0.5, -1.0], [2.0, nan], [-2.5, nan], [nan, nan]]),
        "particle_truthMuon_phi": torch.tensor([[3.1, -3.0], [0.5, nan], [-1.5, nan], [nan, nan]]),
        "particle_truthMuon_pt": torch.tensor([[10.0, 50.0], [200.0, nan], [5.0, nan], [nan, nan]]),
        "particle_truthMuon_q": torch.tensor([[1.0, -1.0], [1.0, nan], [-1.0, nan], [nan, nan]]),
    }
