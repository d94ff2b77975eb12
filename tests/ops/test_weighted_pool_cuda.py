"""What only a GPU can get wrong: streams, devices, graphs, synchronisation, chance, large arrays."""

import pytest
import torch

import hitpool
from hitpool.ops import reference

pytestmark = [pytest.mark.cuda, pytest.mark.parametrize("device", ["cuda"], indirect=True)]


def pool_and_gradients(logits, features, valid, threshold=0.1):
    """Pooled features, and the gradients of the sum of their squares."""
    a, b = logits.detach().requires_grad_(), features.detach().requires_grad_()
    pooled = hitpool.weighted_pool(a, b, valid, threshold=threshold)
    return (pooled.detach(), *torch.autograd.grad(pooled.square().sum(), (a, b)))


@pytest.fixture
def inputs(make_pool_inputs):
    return make_pool_inputs((16,), 3, 400, 32, torch.float32)


def test_every_run_gives_the_same(make_pool_inputs):
    for shape in (((200,), 2, 600, 32), ((1,), 40, 6000, 100)):
        for dtype in (torch.float32, torch.bfloat16):
            tensors = make_pool_inputs(*shape, dtype)
            first = pool_and_gradients(*tensors)
            for _ in range(10):
                assert all(torch.equal(a, b) for a, b in zip(first, pool_and_gradients(*tensors), strict=True))


def test_equals_the_cpu(make_pool_inputs):
    logits, features, valid = make_pool_inputs((20,), 5, 700, 48)
    ours = pool_and_gradients(logits, features, valid)
    theirs = pool_and_gradients(logits.cpu(), features.cpu(), valid.cpu())
    torch.testing.assert_close([tensor.cpu() for tensor in ours], list(theirs), rtol=1e-11, atol=1e-11)


def test_replays_in_a_graph(inputs, make_pool_inputs):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            pool_and_gradients(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = pool_and_gradients(*inputs)
    for seed in (1, 2):
        others = make_pool_inputs((16,), 3, 400, 32, torch.float32, seed=seed)
        for tensor, other in zip(inputs, others, strict=True):
            tensor.detach().copy_(other)
        graph.replay()
        expected = pool_and_gradients(*others)
        assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))


def test_runs_on_the_current_stream(inputs):
    logits, features, valid = inputs
    expected = pool_and_gradients(*inputs)
    stream = torch.cuda.Stream()
    late = torch.zeros_like(logits), torch.zeros_like(features)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # about 0.1 s
        for tensor, source in zip(late, (logits, features), strict=True):
            tensor.copy_(source)
        results = pool_and_gradients(*late, valid)
    stream.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))


def test_does_not_wait_for_the_gpu(inputs):
    pool_and_gradients(*inputs)
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # about 1 s
    busy = torch.cuda.Event()
    busy.record()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pool_and_gradients(*inputs)
        still_busy = not busy.query()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    assert still_busy


def test_runs_on_the_device_of_its_inputs(inputs):
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device only")
    expected = pool_and_gradients(*inputs)
    with torch.cuda.device(0):
        results = pool_and_gradients(*(tensor.to("cuda:1") for tensor in inputs))
        assert torch.cuda.current_device() == 0
    assert all(tensor.device.index == 1 for tensor in results)
    assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(results, expected, strict=True))


def test_more_events_than_a_grid_has_rows(make_pool_inputs):
    """More than 65535 blocks in every direction that blocks are counted in."""
    logits, features, valid = make_pool_inputs((70_000,), 1, 3, 4, torch.float32)
    pooled, grad_logits, grad_features = pool_and_gradients(logits, features, valid)
    a, b = logits.requires_grad_(), features.requires_grad_()
    expected = reference.weighted_pool(a, b, valid)
    gradients = torch.autograd.grad(expected.square().sum(), (a, b))
    torch.testing.assert_close((pooled, grad_logits, grad_features), (expected, *gradients), rtol=1e-4, atol=1e-4)


def test_more_than_2_to_the_31_numbers(device):
    events, hits = 2, 1_200_000_000
    needed = 20 * events * hits
    free, _ = torch.cuda.mem_get_info()
    if free < needed:
        pytest.skip(f"needs {needed >> 30} GiB of free GPU memory, there are {free >> 30}")
    logits = torch.full((events, 1, hits), -20.0, dtype=torch.bfloat16, device=device)
    features = torch.full((events, hits, 1), 7.0, dtype=torch.bfloat16, device=device)
    chosen = torch.tensor([3, hits // 2, hits - 1], device=device)
    logits[1, 0, chosen] = 20.0
    features[1, chosen, 0] = torch.tensor([1.0, 2.0, 4.0], dtype=torch.bfloat16, device=device)
    pooled, grad_logits, grad_features = pool_and_gradients(logits, features, None)
    assert pooled[0].count_nonzero() == 0
    assert pooled[1, 0, 1:, 0].tolist() == [7.0, 4.0, 1.0]
    torch.testing.assert_close(pooled[1, 0, 0, 0].item(), 7 / 3, rtol=1e-2, atol=0)
    assert grad_features[1, chosen, 0].count_nonzero() == 3
    assert grad_features.count_nonzero() == 3
    assert grad_logits[0].count_nonzero() == 0
