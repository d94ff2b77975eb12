"""The devices that the ops run on, and inputs away from what a comparison in floating point cannot decide."""

import os

import pytest
import torch

import hitpool


def require_cuda():
    """Skip without a GPU and its kernels; fail instead if HITPOOL_REQUIRE_CUDA=1."""
    if not torch.cuda.is_available():
        reason = "no CUDA device"
    elif not hitpool._C.cuda_version:
        reason = "hitpool was built without CUDA kernels"
    else:
        return
    if os.environ.get("HITPOOL_REQUIRE_CUDA") == "1":
        pytest.fail(f"HITPOOL_REQUIRE_CUDA=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    if request.param == "cuda":
        require_cuda()
    return torch.device(request.param)


@pytest.fixture
def make_pool_inputs(device):
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
        mask = (torch.rand(*events, hits, generator=generator) > 0.2).to(device) if valid else None
        return logits.to(device, dtype), values.to(device, dtype), mask

    return make
