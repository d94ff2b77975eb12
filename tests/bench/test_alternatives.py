import pytest
import torch

from hitpool.bench import ways
from hitpool.bench.cases import Case, make_inputs
from hitpool.bench.check import TOLERANCE, Expected
from hitpool.ops import reference

EAGER = [name for name in ways.WAYS if not name.endswith(ways.COMPILED)]


def case(dtype="float32", **sizes):
    return Case("", **{"events": 3, "tracks": 4, "hits": 40, "features": 5, "selected": 0.1} | sizes, dtype=dtype)


def expected(case):
    return Expected(*make_inputs(case), backward=True)


def make(name):
    if ways.missing(name):
        pytest.skip(f"{name} is not installed")
    return ways.make(name)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", EAGER)
def test_ways_agree_with_the_reference(name, dtype):
    check = expected(case(dtype))
    check.check_forward(make(name))
    check.check_backward(make(name))


@pytest.mark.parametrize("name", EAGER)
def test_tracks_without_hits_are_zero(name):
    logits, features, valid = make_inputs(case())
    logits[1, 2] = -9
    valid[2] = False
    pooled = make(name)(logits, features, valid)
    assert torch.equal(pooled[1, 2], torch.zeros(4, 5))
    assert torch.equal(pooled[2], torch.zeros(4, 4, 5))


def test_a_compiled_form_with_a_list_of_pairs_agrees_with_the_reference():
    torch._dynamo.reset()
    expected(case(events=1, tracks=2)).check_forward(make("sparse" + ways.COMPILED))


def test_the_expected_values_are_those_of_the_reference():
    logits, features, valid = (tensor.double() for tensor in make_inputs(case()))
    leaves = logits.requires_grad_(), features.requires_grad_()
    check = Expected(*leaves, valid.bool(), backward=True)
    pooled = reference.weighted_pool(*leaves, valid.bool())
    torch.testing.assert_close(check.pooled.view_as(pooled), pooled)
    torch.testing.assert_close(check.gradients, torch.autograd.grad(pooled, leaves, check.grad))


def test_wrong_results_and_gradients_are_noticed():
    check = expected(case())
    tolerance = TOLERANCE[torch.float32]
    with pytest.raises(AssertionError, match="result differs from the reference"):
        check.check_forward(lambda *inputs: reference.weighted_pool(*inputs) + 100 * tolerance)
    with pytest.raises(AssertionError, match="gradient of the logits differs"):
        check.check_backward(
            lambda logits, *others: reference.weighted_pool(logits.detach(), *others) + 0 * logits.sum()
        )
    with pytest.raises(AssertionError, match="gradient of the features differs"):
        check.check_backward(lambda logits, x, valid: reference.weighted_pool(logits, 2 * x - x.detach(), valid))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert ways.missing("torch_geometric") == "not installed"
    assert ways.missing("expand") is None


def test_memory_is_estimated_from_the_shape():
    large = case(events=1, tracks=500, hits=10000, features=128)
    cells = 500 * 10000 * 128 * 4
    assert ways.needed_bytes("expand", large, backward=False) > cells
    assert ways.needed_bytes("expand", large, backward=True) > 4 * cells
    assert ways.needed_bytes("sparse", large, backward=False) < cells
    assert ways.needed_bytes(ways.OURS, large, backward=True) < cells / 10
