"""Every kind of derivative of every op: forward mode, torch.func, gradients of gradients; never silently zero."""

import math
import warnings

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

import hitpool
from hitpool.ops import reference
from hitpool.ops.attention import attention

NAN, INF = math.nan, math.inf
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def attention_by_definition(query, key, value, mask=None):
    score = torch.einsum("bqhe,bkhe->bhqk", query, key) / math.sqrt(query.shape[-1])
    if mask is not None:
        score = torch.where(mask.unsqueeze(1), score, -INF)
    weight = (score - score.detach().amax(-1, keepdim=True)).exp()  # gradients of tangents of torch's softmax fail
    return torch.einsum("bhqk,bkhe->bqhe", weight / weight.sum(-1, keepdim=True), value)


def pool_sample(hits=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, hits, generator=generator, dtype=torch.float64)
    features = torch.randn(2, hits, 4, generator=generator, dtype=torch.float64)
    return logits, features, torch.rand(2, hits, generator=generator) > 0.2


def samples():
    """Op, definition, differentiable arguments, the others."""
    logits, features, valid = pool_sample()
    theta = torch.linspace(0.1, 3.0, 6, dtype=torch.float64).view(2, 3)
    arrays = [torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(i)).double() for i in range(3)]
    mask = torch.tensor([True, True, False]).expand(2, 1, 3)
    return {
        "weighted_pool": (hitpool.weighted_pool, reference.weighted_pool, (logits, features), (valid,)),
        "all valid": (hitpool.weighted_pool, reference.weighted_pool, (logits, features), ()),
        "pseudorapidity": (hitpool.pseudorapidity, reference.pseudorapidity, (theta,), ()),
        "attention": (attention, attention_by_definition, tuple(arrays), ()),
        "attention with mask": (attention, attention_by_definition, tuple(arrays), (mask,)),
    }


@pytest.fixture(params=list(samples()))
def sample(request):
    return samples()[request.param]


def both(sample, transform):
    """Results of a transform of the op and of its definition."""
    op, definition, inputs, others = sample
    numbers = tuple(range(len(inputs)))
    return [transform(lambda *args, f=f: f(*args, *others), inputs, numbers) for f in (op, definition)]


def check(sample, transform):
    ours, theirs = both(sample, transform)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert any(part.abs().max() > 1e-3 for part in torch.utils._pytree.tree_leaves(ours))


def directions(inputs):
    return tuple(torch.cos(torch.arange(x.numel(), dtype=x.dtype) + 1).view(x.shape) for x in inputs)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_tangents(sample, mode):
    with mode():
        check(sample, lambda f, inputs, _: jvp(f, inputs, directions(inputs))[1])


def test_dual_tensors_without_functorch(sample):
    op, _, inputs, others = sample
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x, t) for x, t in zip(inputs, directions(inputs), strict=True)]
        result, tangent = forward_ad.unpack_dual(op(*duals, *others))
    expected, expected_tangent = jvp(lambda *args: op(*args, *others), inputs, directions(inputs))
    assert torch.equal(result, op(*inputs, *others))
    torch.testing.assert_close((result, tangent), (expected, expected_tangent))


def test_a_tangent_of_one_input_only(sample):
    for number in range(len(sample[2])):

        def transform(f, inputs, _, number=number):
            before, after = inputs[:number], inputs[number + 1 :]
            return jvp(lambda x: f(*before, x, *after), (inputs[number],), directions((inputs[number],)))[1]

        check(sample, transform)


def test_gradients_and_jacobians(sample):
    check(sample, lambda f, inputs, n: grad(lambda *x: f(*x).square().sum(), n)(*inputs))
    check(sample, lambda f, inputs, n: jacrev(f, n)(*inputs))
    check(sample, lambda f, inputs, n: jacfwd(f, n)(*inputs))
    check(sample, lambda f, inputs, n: vjp(f, *inputs)[1](f(*inputs)))


@pytest.mark.parametrize("outer", [jacfwd, jacrev])
@pytest.mark.parametrize("inner", [jacfwd, jacrev])
def test_second_derivatives_in_every_order_of_modes(sample, outer, inner):
    check(sample, lambda f, inputs, n: outer(inner(lambda *x: f(*x).square().sum(), n), n)(*inputs))


def test_third_derivatives(sample):
    def transform(f, inputs, _):
        def loss(x):
            return f(x, *inputs[1:]).square().sum()

        return grad(lambda x: hessian(loss)(x).square().sum())(inputs[0])

    check(sample, transform)


def test_per_sample_gradients_without_the_slow_fallback(sample):
    def transform(f, inputs, n):
        batch = tuple(torch.stack([x, 0.9 * x, 1.02 * x], 1) for x in inputs)
        per_sample = vmap(grad(lambda *x: f(*x).square().sum(), n), in_dims=1)
        return vmap(f, in_dims=1, out_dims=1)(*batch), per_sample(*batch)

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # the fallback warns
        check(sample, transform)
        if len(sample[2]) > 1:  # only one input has the batch
            check(
                sample,
                lambda f, i, n: vmap(grad(lambda *x: f(*x).square().sum(), n), (0,) + (None,) * (len(i) - 1))(
                    torch.stack([i[0], -i[0]]), *i[1:]
                ),
            )


def test_nested_vmap_of_a_mask():
    logits, features, _ = pool_sample()
    valid = torch.rand(5, 4, 2, 7, generator=torch.Generator().manual_seed(1)) > 0.3
    ours, theirs = (
        vmap(vmap(lambda v, f=f: f(logits, features, v)))(valid)
        for f in (hitpool.weighted_pool, reference.weighted_pool)
    )
    torch.testing.assert_close(ours, theirs)


def test_finite_differences(sample):
    op, _, inputs, others = sample
    inputs = tuple(x[:1].clone().requires_grad_() for x in inputs)
    others = tuple(x[:1] for x in others)

    def function(*x):
        return op(*x, *others)

    modes = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(function, inputs, **modes)
    assert torch.autograd.gradgradcheck(function, inputs, check_fwd_over_rev=True, check_rev_over_rev=True)


def test_a_gradient_through_a_tangent(sample):
    """Training on a directional derivative."""
    op, definition, inputs, others = sample
    results = []
    for f in (op, definition):
        leaves = tuple(x.clone().requires_grad_() for x in inputs)
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(x, t) for x, t in zip(leaves, directions(inputs), strict=True)]
            tangent = forward_ad.unpack_dual(f(*duals, *others)).tangent
            results.append(torch.autograd.grad(tangent.square().sum(), leaves))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_an_input_that_is_computed_from_the_other():
    """The features of the hits are also what the logits are computed from."""
    _, features, _ = pool_sample()
    leaf = features.requires_grad_()
    results = []
    for pool in (hitpool.weighted_pool, reference.weighted_pool):
        loss = pool(leaf[:, :3] @ leaf.mT, leaf).square().sum()
        plain = torch.autograd.grad(loss, leaf, retain_graph=True)
        (first,) = torch.autograd.grad(loss, leaf, create_graph=True)
        assert torch.equal(plain[0], first)
        results.append((first, *torch.autograd.grad(first.square().sum(), leaf)))
    torch.testing.assert_close(*results)


def test_tangents_under_autocast():
    logits, features, valid = (x.float() if x.is_floating_point() else x for x in pool_sample())
    function, inputs = lambda a, b: hitpool.weighted_pool(a, b, valid), (logits, features.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result, tangent = jvp(function, inputs, directions(inputs))
    assert result.dtype == tangent.dtype == torch.float32
    expected = jvp(function, (logits, inputs[1].float()), tuple(t.float() for t in directions(inputs)))
    torch.testing.assert_close((result, tangent), expected)


@pytest.mark.parametrize(("tracks", "hits", "features"), [(0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_derivatives_of_nothing(tracks, hits, features):
    logits, values = torch.ones(2, tracks, hits), torch.ones(2, hits, features)
    result, tangent = jvp(hitpool.weighted_pool, (logits, values), (logits, values))
    assert result.shape == tangent.shape == (2, tracks, 4, features)
    assert tangent.count_nonzero() == 0
    second = hessian(lambda *x: hitpool.weighted_pool(*x).sum(), (0, 1))(logits, values)
    assert [part.shape for row in second for part in row] == [
        torch.Size((*x.shape, *y.shape)) for x in (logits, values) for y in (logits, values)
    ]


def test_compiled_transforms():
    logits, features, valid = pool_sample()

    def tangent(a, b):
        return jvp(lambda x: hitpool.weighted_pool(x, b, valid), (a,), (torch.ones_like(a),))[1]

    def gradient(a, b):
        return vmap(grad(lambda x, y: hitpool.weighted_pool(x, y).square().sum(), (0, 1)))(a, b)

    for function in (tangent, gradient):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(logits, features), function(logits, features))


# ---- special values: the first gradient does not depend on create_graph ----


def special_samples(dtype):
    """Op, definition, differentiable arguments, the others, which gradients must be finite."""
    logits, features, valid = pool_sample(30, seed=3)
    logits, features, valid = logits.to(dtype), features.to(dtype), valid.clone()
    valid[:, :8] = torch.tensor([False, False, False, False, True, True, True, True])
    for poison, hit in ((NAN, 0), (INF, 1), (-INF, 2)):
        logits[:, :, hit] = poison
        features[:, 3 - hit] = poison
    logits[:, :, 4], features[:, 4] = -9, NAN  # valid, but of no track
    logits[0, 0, 5], logits[0, 1, 5] = INF, -INF
    yield hitpool.weighted_pool, reference.weighted_pool, (logits, features), (valid,), True
    logits, features = logits.clone(), features.clone()
    logits[1, 0, 6], features[1, 7, 2], logits[1, 1, 7] = NAN, NAN, 3
    yield hitpool.weighted_pool, reference.weighted_pool, (logits, features), (valid,), False
    pi = torch.tensor(math.pi, dtype=dtype)
    theta = torch.tensor([0.0, -0.0, -0.1, 3.2, NAN, INF, -INF, 1e-3, 1.0, math.pi / 2, 3.1], dtype=dtype)
    yield hitpool.pseudorapidity, reference.pseudorapidity, (torch.cat([theta, pi[None]]),), (), False
    if dtype not in (torch.float32, torch.float64):
        return
    generator = torch.Generator().manual_seed(4)
    arrays = [torch.randn(2, 6, 2, 4, generator=generator).to(dtype) for _ in range(3)]
    mask = torch.tensor([True, True, False, False, True, False]).expand(2, 1, 6)
    for array in arrays[1:]:
        array[:, 2], array[:, 3, 0], array[0, 5] = NAN, INF, -INF
    yield attention, attention_by_masked_definition, tuple(arrays), (mask,), True
    mask = (torch.rand(2, 6, 6, generator=generator) > 0.4) & mask
    mask[:, 1] = False  # a query that may attend to nothing
    yield attention, attention_by_masked_definition, tuple(arrays), (mask,), True


def attention_by_masked_definition(query, key, value, mask):
    """Keys that nobody may attend to and queries that may attend to nothing are left out before anything else."""
    asked, asks = mask.any(1)[..., None, None], mask.any(2)[..., None, None]
    key, value, query = torch.where(asked, key, 0.0), torch.where(asked, value, 0.0), torch.where(asks, query, 0.0)
    score = torch.einsum("bqhe,bkhe->bhqk", query, key) / math.sqrt(query.shape[-1])
    score = torch.where((mask | ~mask.any(2, keepdim=True)).unsqueeze(1), score, -INF)
    weight = torch.where(asks.transpose(1, 2), score.softmax(-1), 0.0)
    return torch.einsum("bhqk,bkhe->bqhe", weight, value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(dtype):
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}[dtype]
    for op, definition, inputs, others, finite in special_samples(dtype):
        results, tangents = [], []
        for f in (op, definition):
            leaves = tuple(x.clone().requires_grad_() for x in inputs)
            result = f(*leaves, *others)
            weight = torch.cos(torch.arange(result.numel())).view(result.shape).to(dtype)
            plain = torch.autograd.grad(result, leaves, weight, retain_graph=True)
            graph = torch.autograd.grad(result, leaves, weight, create_graph=True)
            assert all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(plain, graph, strict=True))
            assert all(torch.equal(x.isnan(), y.isnan()) for x, y in zip(plain, graph, strict=True))
            second = torch.autograd.grad(graph, leaves, directions(leaves))
            if finite:
                assert all(x.isfinite().all() for x in (result, *plain, *second))
            results.append((result, *plain, *(second if finite else ())))
            tangents.append(jvp(lambda *x, f=f, others=others: f(*x, *others), inputs, directions(inputs)))
        torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance, equal_nan=True)
        torch.testing.assert_close(*tangents, rtol=tolerance, atol=tolerance, equal_nan=True)
        assert torch.equal(tangents[0][0].nan_to_num(), op(*inputs, *others).nan_to_num())


@pytest.mark.parametrize("special", [NAN, INF, -INF, 1e200])
def test_hits_of_other_tracks_enter_no_derivative(special):
    """The first two tracks and the first four hits belong together, and so do the others, which hold anything."""
    logits, features, valid = pool_sample(9)
    other_track, other_hit = torch.tensor([False, False, True]), torch.arange(9) >= 4
    logits = torch.where(other_track.unsqueeze(-1) == other_hit, logits.abs(), -9.0)
    grad_in = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).double()

    def put(value, tensor, own):
        return torch.where(own, value, tensor.detach()).requires_grad_()

    def derivatives(value):
        leaves = put(value, logits, other_track[:, None] & other_hit), put(value, features, other_hit[:, None])
        cotangent = put(value, grad_in, other_track[:, None, None])
        toward = put(value, logits, other_track[:, None]), put(value, features, other_hit[:, None])
        result, tangent = jvp(lambda *x: hitpool.weighted_pool(*x, valid), leaves, toward)
        first = torch.autograd.grad(result, leaves, cotangent, create_graph=True)
        second = torch.autograd.grad(first, [*leaves, cotangent], toward, create_graph=True)
        third = torch.autograd.grad(second[:2], leaves, toward)
        of_tracks = [x[:, :2] for x in (tangent, first[0], second[0], second[2], third[0])]
        return of_tracks, [x[:, :4] for x in (first[1], second[1], third[1])]

    ours, theirs = derivatives(special), derivatives(0.0)
    assert all(x.abs().max() > 1e-3 for part in theirs for x in part)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
