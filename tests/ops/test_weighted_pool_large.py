"""Events that do not fit into a cache, and work that is cut into pieces, on the CPU."""

import pytest
import torch

import hitpool
from hitpool.ops import reference


def inputs(events, tracks, hits, features, dtype=torch.float32, seed=0):
    """Logits with about 15 % of hits selected, features with many equal values, valid."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(events, tracks, hits, generator=generator) - 5
    x = torch.randint(-50, 50, (events, hits, features), generator=generator)
    return logits, x.to(dtype) / 8, torch.rand(events, hits, generator=generator) > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("features", [60, 128])
def test_event_larger_than_a_cache(features, dtype):
    logits, x, valid = inputs(1, 70, 9000, features, dtype)
    logits[0, 3] = -20  # no selected hit
    logits[0, 4, :8000] = -20  # only in the last part
    logits[0, 5, 8000:] = -20
    x[0, 17, 2], x[0, 8500, 3] = torch.nan, torch.inf
    logits[0, :40, 17] = -20
    logits.requires_grad_(), x.requires_grad_()
    pooled = hitpool.weighted_pool(logits, x, valid)
    exact = logits.detach().double().requires_grad_(), x.detach().double().requires_grad_()
    expected = reference.weighted_pool(*exact, valid)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(pooled.double(), expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    assert pooled[0, 40:, :, 2].isnan().any()
    assert not pooled[0, :40, :, 2].isnan().any()

    grad = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1))
    grad[..., 2:4] = 0  # the columns with NaN and infinity
    finite = x.detach().nan_to_num(0, 0, 0)
    leaves = logits, finite.requires_grad_()
    gradients = torch.autograd.grad(hitpool.weighted_pool(*leaves, valid), leaves, grad.to(dtype))
    exact = logits.detach().double().requires_grad_(), finite.detach().double().requires_grad_()
    expected = torch.autograd.grad(reference.weighted_pool(*exact, valid), exact, grad.to(dtype).double())
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient.double(), wanted, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 70, 9000, 128), (1, 3, 4000, 40), (3, 5, 700, 33), (40, 2, 60, 32)], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(shape, dtype):
    logits, x, valid = inputs(*shape, dtype)
    logits.requires_grad_(), x.requires_grad_()
    grad = torch.randn(*shape[:2], 4, shape[3], generator=torch.Generator().manual_seed(1)).to(dtype)
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            pooled = hitpool.weighted_pool(logits, x, valid)
            assert torch.equal(pooled, hitpool.weighted_pool(logits.detach(), x.detach(), valid))
            results.append((pooled.detach(), *torch.autograd.grad(pooled, (logits, x), grad)))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))
