"""Inputs for the ops, away from what a comparison in floating point cannot decide."""

import pytest
import torch


@pytest.fixture
def make_pool_inputs():
    """Logits [..., N, M], features [..., M, D] and valid [..., M]; no probability within 1e-3 of 0.1."""

    def make(events, tracks, hits, features, dtype=torch.float64, seed=0, valid=True):
        generator = torch.Generator().manual_seed(seed)
        logits = 3 * torch.randn(*events, tracks, hits, generator=generator, dtype=torch.float64) - 2
        near = (logits.sigmoid() - 0.1).abs() < 1e-3
        logits = torch.where(near, logits + 0.1, logits)
        # A permutation of distinct values: no ties, also after rounding to bfloat16.
        count = max(hits, 1)
        order = torch.argsort(torch.rand(*events, count, features, generator=generator), dim=-2)[..., :hits, :]
        values = (order.double() - count / 2) / 16
        mask = torch.rand(*events, hits, generator=generator) > 0.2 if valid else None
        return logits.to(dtype), values.to(dtype), mask

    return make
