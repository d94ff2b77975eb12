"""The contract of weighted_pool: values, selection, types, shapes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hitpool
from hitpool.ops import reference

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-3}


def pool_by_loop(logits, features, valid, threshold):
    """One track at a time, one hit at a time, in Python floats: logits [N, M], features [M, D]."""
    result = torch.zeros(logits.shape[0], 4, features.shape[1], dtype=torch.float64)
    for n, row in enumerate(logits.tolist()):
        weight = {m: 1 / (1 + math.exp(-logit)) for m, logit in enumerate(row) if valid is None or valid[m]}
        weight = {m: p for m, p in weight.items() if p >= threshold}
        for d, column in enumerate(features.T.tolist()):
            if weight:
                total = sum(p * column[m] for m, p in weight.items())
                chosen = [column[m] for m in weight]
                values = [total / max(sum(weight.values()), 1e-8), total, max(chosen), min(chosen)]
                result[n, :, d] = torch.tensor(values, dtype=torch.float64)
    return result


@pytest.mark.parametrize("with_valid", [True, False])
@pytest.mark.parametrize("features", [1, 3, 16, 33, 64, 130])
def test_equals_a_loop_over_tracks_and_hits(make_pool_inputs, features, with_valid):
    logits, values, valid = make_pool_inputs((), 5, 60, features, valid=with_valid)
    expected = pool_by_loop(logits, values, valid, 0.1)
    for pool in (hitpool.weighted_pool, reference.weighted_pool):
        torch.testing.assert_close(pool(logits, values, valid).cpu(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("logits_dtype", DTYPES)
@pytest.mark.parametrize("features_dtype", DTYPES)
def test_types_and_gradients_equal_the_reference(make_pool_inputs, logits_dtype, features_dtype):
    logits, values, valid = make_pool_inputs((4,), 2, 100, 40)
    logits = logits.to(logits_dtype).requires_grad_()
    values = values.to(features_dtype).requires_grad_()
    pooled = hitpool.weighted_pool(logits, values, valid)
    expected = reference.weighted_pool(logits, values, valid)
    assert pooled.dtype == features_dtype
    tolerance = TOLERANCE[features_dtype]
    torch.testing.assert_close(pooled, expected, rtol=tolerance, atol=tolerance)

    grad = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)).to(pooled)
    ours = torch.autograd.grad(pooled, (logits, values), grad)
    theirs = torch.autograd.grad(expected, (logits, values), grad)
    for got, want, dtype in zip(ours, theirs, (logits_dtype, features_dtype), strict=True):
        assert got.dtype == dtype
        tolerance = 10 * max(TOLERANCE[dtype], TOLERANCE[features_dtype])
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("events", "tracks", "hits", "features"), [((200,), 2, 600, 32), ((8,), 64, 3000, 64)])
def test_real_sizes(make_pool_inputs, events, tracks, hits, features):
    logits, values, valid = make_pool_inputs(events, tracks, hits, features, torch.float32)
    pooled = hitpool.weighted_pool(logits, values, valid)
    for event in (0, events[0] - 1):
        exact = reference.weighted_pool(logits[event].double(), values[event].double(), valid[event])
        size = reference.weighted_pool(logits[event].double(), values[event].double().abs(), valid[event])
        assert ((pooled[event] - exact).abs() <= 3e-6 * size)[:, :2].all()  # rounding of sums
        assert torch.equal(pooled[event, :, 2:].double(), exact[:, 2:])


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.integers(0, 3), max_size=2),
    tracks=st.integers(0, 4),
    hits=st.integers(0, 70),
    features=st.integers(0, 40),
    with_valid=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_shape_forward_and_backward(device, events, tracks, hits, features, with_valid, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(*events, tracks, hits, generator=generator, dtype=torch.float64)
    values = torch.randn(*events, hits, features, generator=generator, dtype=torch.float64)
    valid = (torch.rand(*events, hits, generator=generator) > 0.3).to(device) if with_valid else None
    logits, values = logits.to(device).requires_grad_(), values.to(device).requires_grad_()
    pooled = hitpool.weighted_pool(logits, values, valid)
    expected = reference.weighted_pool(logits, values, valid)
    assert pooled.shape == (*events, tracks, 4, features)
    torch.testing.assert_close(pooled, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn(pooled.shape, generator=generator, dtype=torch.float64).to(device)
    ours = torch.autograd.grad(pooled, (logits, values), grad)
    theirs = torch.autograd.grad(expected, (logits, values), grad)
    for got, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize(
    ("tracks", "hits", "features"), [(2, 9000, 6), (1, 5000, 40), (300, 40, 36), (270, 33, 140), (70, 70, 260)]
)
def test_long_rows_and_many_tracks(make_pool_inputs, tracks, hits, features, threshold):
    """With threshold 0 every hit is selected, more than any list or tile holds."""
    logits, values, valid = make_pool_inputs((2,), tracks, hits, features)
    a, b = logits.requires_grad_(), values.requires_grad_()
    results = []
    for pool in (hitpool.weighted_pool, reference.weighted_pool):
        pooled = pool(a, b, valid, threshold=threshold)
        grad = torch.linspace(-1, 1, pooled.numel(), dtype=pooled.dtype, device=pooled.device).view(pooled.shape)
        results.append((pooled, *torch.autograd.grad(pooled, (a, b), grad)))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("tracks", "hits", "features"), [(9, 1700, 130), (70, 520, 256)])
def test_many_tracks_of_a_large_event(make_pool_inputs, tracks, hits, features):
    """On CPU, groups of tracks take turns on blocks of hits."""
    logits, values, valid = make_pool_inputs((), tracks, hits, features)
    valid[-1] = True
    logits[:, -1] = -9
    logits[0] = -9  # selects no hit
    logits[1, :-1] = -9  # selects one, of the last block
    logits[1:3, -1] = 9
    values[-1, 7] = math.nan
    a, b = logits.requires_grad_(), values.requires_grad_()
    pooled = hitpool.weighted_pool(a, b, valid)
    with torch.no_grad():
        torch.testing.assert_close(hitpool.weighted_pool(a, b, valid), pooled, rtol=0, atol=0, equal_nan=True)
    grad = torch.linspace(-1, 1, pooled.numel(), dtype=pooled.dtype, device=pooled.device).view(pooled.shape)
    got = (pooled, *torch.autograd.grad(pooled, (a, b), grad))
    parts = [reference.weighted_pool(part, b, valid) for part in a.split(10)]  # [10, 4, D] each
    want = (torch.cat(parts), *torch.autograd.grad(parts, (a, b), grad.split(10)))
    assert want[0].isnan().nonzero()[:, 0].unique().tolist() == [1, 2]
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10, equal_nan=True)


# ---- selection ----


def test_a_probability_at_the_threshold_is_selected(device):
    logits, features = torch.zeros(1, 1, device=device), torch.ones(1, 1, device=device)  # p = 0.5 exactly
    assert hitpool.weighted_pool(logits, features, threshold=0.5)[0, 2, 0] == 1
    above = math.nextafter(0.5, 1)
    assert hitpool.weighted_pool(logits.double(), features.double(), threshold=above)[0, 2, 0] == 0
    # In float32 the threshold is rounded to float32, too.
    assert hitpool.weighted_pool(logits, features, threshold=above)[0, 2, 0] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.1, 0.5, 0.9, 1.0])
def test_selection_next_to_the_threshold(device, dtype, threshold):
    if 0 < threshold < 1:
        center = math.log(threshold / (1 - threshold))
        logits = center + torch.linspace(-1e-3, 1e-3, 2001, dtype=torch.float64).to(dtype)
    else:
        logits = torch.linspace(-60, 60, 2001, dtype=dtype)
    logits = logits.to(device)
    hits = torch.arange(2001, dtype=dtype, device=device)
    first = hitpool.weighted_pool(logits[None], hits[:, None], threshold=threshold)[0, 3, 0]
    p = logits.sigmoid()
    tolerance = 4 * torch.finfo(dtype).eps  # where sigmoid itself is not certain
    if threshold == 0:
        assert first == 0
    else:
        assert p[int(first)] >= threshold * (1 - tolerance)
        assert p[int(first) - 1] < threshold * (1 + tolerance)


def test_threshold_zero_selects_every_valid_hit_and_one_only_certain_ones(device):
    logits = torch.tensor([[-200.0, 0.0, 200.0]], device=device)
    features = torch.tensor([[1.0], [2.0], [4.0]], device=device)
    everything = hitpool.weighted_pool(logits, features, threshold=0.0)[0, :, 0].cpu()
    torch.testing.assert_close(everything, torch.tensor([5 / 1.5, 5.0, 4.0, 1.0]))
    certain = hitpool.weighted_pool(logits, features, threshold=1.0)[0, :, 0].cpu()
    torch.testing.assert_close(certain, torch.tensor([4.0, 4.0, 4.0, 4.0]))


def test_the_mean_has_a_floor_under_its_denominator(device):
    logits = torch.full((1, 2), -25.0, dtype=torch.float64, device=device, requires_grad=True)  # p = 1.4e-11
    features = torch.tensor([[3.0], [5.0]], dtype=torch.float64, device=device, requires_grad=True)
    pooled = hitpool.weighted_pool(logits, features, threshold=0.0)
    p = torch.sigmoid(torch.tensor(-25.0, dtype=torch.float64))
    torch.testing.assert_close(pooled[0, 0, 0].detach().cpu(), 8 * p / 1e-8)
    ours = torch.autograd.grad(pooled.sum(), (logits, features))
    theirs = torch.autograd.grad(reference.weighted_pool(logits, features, threshold=0.0).sum(), (logits, features))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("reason", ["low probability", "padded"])
def test_without_a_selected_hit_everything_is_zero(device, reason):
    logits = torch.full((2, 3, 5), -9.0 if reason == "low probability" else 9.0, device=device).requires_grad_()
    features = torch.randn(2, 5, 4, device=device).requires_grad_()
    valid = None if reason == "low probability" else torch.zeros(2, 5, dtype=torch.bool, device=device)
    pooled = hitpool.weighted_pool(logits, features, valid)
    assert pooled.count_nonzero() == 0
    pooled.sum().backward()
    assert logits.grad.count_nonzero() == 0
    assert features.grad.count_nonzero() == 0


def test_ties_belong_to_the_hit_of_lowest_index(device):
    logits = torch.tensor([[-9.0, 9.0, 9.0, 9.0]], device=device)
    features = torch.tensor([[7.0, 1.0], [7.0, 1.0], [7.0, 1.0], [0.0, 2.0]], device=device, requires_grad=True)
    pooled = hitpool.weighted_pool(logits, features)
    (grad,) = torch.autograd.grad(pooled[0, 2].sum(), features, retain_graph=True)  # maxima
    assert grad.tolist() == [[0, 0], [1, 0], [0, 0], [0, 1]]
    (grad,) = torch.autograd.grad(pooled[0, 3].sum(), features)  # minima
    assert grad.tolist() == [[0, 0], [0, 1], [0, 0], [1, 0]]


# ---- NaN and Inf ----


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_selected_has_no_influence(make_pool_inputs, dtype, poison):
    logits, features, valid = make_pool_inputs((3,), 2, 50, 20, dtype)
    unselected = ~((logits.float().sigmoid() >= 0.1) & valid.unsqueeze(-2)).any(-2)  # [B, M] by no track
    dirty_logits = torch.where(valid.unsqueeze(-2), logits, poison)
    dirty_features = torch.where(unselected.unsqueeze(-1), poison, features)
    results = []
    for a, b in ((logits, features), (dirty_logits, dirty_features)):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        pooled = hitpool.weighted_pool(a, b, valid)
        pooled.sum().backward()
        results.append((pooled, a.grad, b.grad))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


def test_a_hit_that_only_another_track_selects_has_no_influence(device):
    logits = torch.tensor([[9.0, -9.0], [-9.0, 9.0]], device=device, requires_grad=True)
    features = torch.tensor([[1.0], [math.nan]], device=device, requires_grad=True)
    pooled = hitpool.weighted_pool(logits, features)
    assert pooled[0].isfinite().all()
    assert pooled[1].isnan().all()
    for create_graph in (False, True):
        grads = torch.autograd.grad(pooled[0].sum(), (logits, features), retain_graph=True, create_graph=create_graph)
        assert grads[0][0].isfinite().all()
        assert grads[1][0].isfinite().all()
    (second,) = torch.autograd.grad(grads[0][0].sum(), logits)
    assert second[0].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_logit_makes_its_track_nan(make_pool_inputs, dtype):
    logits, features, _ = make_pool_inputs((2,), 3, 40, 20, dtype)
    logits[1, 2, 7] = math.nan
    pooled = hitpool.weighted_pool(logits, features)
    expected = torch.zeros(2, 3, dtype=torch.bool, device=logits.device)
    expected[1, 2] = True
    assert torch.equal(pooled.isnan().all(-1).all(-1), expected)
    assert torch.equal(pooled.isnan().any(-1).any(-1), expected)
    assert torch.equal(reference.weighted_pool(logits, features).isnan(), pooled.isnan())


@pytest.mark.parametrize("where", [0, 11, 39])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_feature_makes_its_column_nan(make_pool_inputs, dtype, where):
    logits, features, _ = make_pool_inputs((), 1, 40, 20, dtype)
    logits[0, where] = 3
    features[where, 5] = math.nan
    nan = hitpool.weighted_pool(logits, features).isnan()[0]
    assert nan[:, 5].all()
    assert nan.sum() == 4


# ---- layout, threads, gradients ----


def test_any_strides(make_pool_inputs):
    logits, features, valid = make_pool_inputs((3,), 4, 50, 20)
    expected = hitpool.weighted_pool(logits, features, valid)
    transposed = hitpool.weighted_pool(logits.mT.contiguous().mT, features.mT.contiguous().mT, valid.T.contiguous().T)
    assert torch.equal(transposed, expected)
    wide = features.new_zeros(3, 50, 40)
    wide[..., ::2] = features
    assert torch.equal(hitpool.weighted_pool(logits, wide[..., ::2], valid), expected)


def test_storage_that_starts_anywhere(make_pool_inputs):
    inputs = [tensor.float() if tensor.is_floating_point() else tensor for tensor in make_pool_inputs((3,), 4, 50, 20)]
    shifted = []
    for tensor in inputs:
        shifted.append(torch.cat([tensor.flatten()[:1], tensor.flatten()])[1:].view(tensor.shape))
        assert shifted[-1].is_contiguous()
        assert shifted[-1].data_ptr() % 16 != 0
    results = []
    for logits, features, valid in (inputs, shifted):
        a, b = logits.requires_grad_(), features.requires_grad_()
        pooled = hitpool.weighted_pool(a, b, valid)
        results.append((pooled, *torch.autograd.grad(pooled.square().sum(), (a, b))))
    torch.testing.assert_close(*results)


def test_expanded_inputs(make_pool_inputs):
    logits, features, valid = make_pool_inputs((), 4, 50, 20)
    features = features.requires_grad_()
    expanded = hitpool.weighted_pool(logits.expand(3, 4, 50), features.expand(3, 50, 20), valid.expand(3, 50))
    single = hitpool.weighted_pool(logits, features, valid)
    assert torch.equal(expanded, single.expand(3, 4, 4, 20))
    (grad,) = torch.autograd.grad(expanded.sum(), features)
    (grad_single,) = torch.autograd.grad(single.sum(), features)
    torch.testing.assert_close(grad, 3 * grad_single)


@pytest.mark.parametrize(("tracks", "hits", "features"), [(2, 600, 32), (2, 600, 33), (7, 601, 7), (1, 300, 140)])
def test_an_event_is_pooled_alike_alone_and_in_a_large_batch(make_pool_inputs, tracks, hits, features):
    """Alone, an event is cut into smaller blocks of hits."""
    events = 200
    logits, values, valid = make_pool_inputs((events,), tracks, hits, features, torch.float32)
    a, b = logits.requires_grad_(), values.requires_grad_()
    pooled = hitpool.weighted_pool(a, b, valid)
    grad = torch.linspace(-1, 1, pooled.numel(), device=pooled.device).view(pooled.shape)
    together = (pooled, *torch.autograd.grad(pooled, (a, b), grad))
    for event in (0, 1, events // 2, events - 1):
        part = slice(event, event + 1)
        a, b = logits[part].detach().requires_grad_(), values[part].detach().requires_grad_()
        pooled = hitpool.weighted_pool(a, b, valid[part])
        alone = (pooled, *torch.autograd.grad(pooled, (a, b), grad[part]))
        assert all(torch.equal(x[part], y) for x, y in zip(together, alone, strict=True))


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 5000, 40), (64, 2, 300, 32), (1, 12, 4200, 130)])
def test_results_do_not_depend_on_the_number_of_threads(make_pool_inputs, shape, dtype):
    logits, features, valid = make_pool_inputs(shape[:1], *shape[1:], dtype)
    results = []
    threads = torch.get_num_threads()
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        a, b = logits.clone().requires_grad_(), features.clone().requires_grad_()
        pooled = hitpool.weighted_pool(a, b, valid)
        pooled.square().sum().backward()
        results.append((pooled, a.grad, b.grad))
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("shape", [((2,), 3, 7, 5), ((), 1, 20, 17), ((2, 2), 2, 4, 3), ((1,), 2, 1, 1)])
@pytest.mark.parametrize("with_valid", [True, False])
def test_gradients_and_second_gradients(make_pool_inputs, shape, with_valid):
    logits, features, valid = make_pool_inputs(*shape, valid=with_valid)
    inputs = (logits.requires_grad_(), features.requires_grad_())

    def pool(a, b):
        return hitpool.weighted_pool(a, b, valid)

    assert torch.autograd.gradcheck(pool, inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(pool, inputs)


def test_gradient_of_one_input_only(make_pool_inputs):
    logits, features, valid = make_pool_inputs((2,), 2, 10, 4)
    hitpool.weighted_pool(logits.requires_grad_(), features, valid).sum().backward()
    assert logits.grad is not None
    both = logits.grad.clone()
    logits.grad = None
    hitpool.weighted_pool(logits, features.requires_grad_(), valid).sum().backward()
    assert torch.equal(both, logits.grad)
    (grad,) = torch.autograd.grad(hitpool.weighted_pool(logits, features, valid).sum(), logits, create_graph=True)
    assert grad.requires_grad
