"""Wrong arguments are errors that name the op, the argument, what was expected and what came, on CPU and in tracing."""

import math

import pytest
import torch
from torch import Tensor

import hitpool
from hitpool.ops.attention import attention
from hitpool.ops.solenoid_fit import solenoid_fit
from hitpool.ops.toroid_fit import toroid_fit

L, X, V = torch.zeros(2, 3, 5), torch.zeros(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)
Q, K = torch.zeros(2, 3, 2, 4), torch.zeros(2, 6, 2, 4)
FLOAT = "dtype float64, float32, bfloat16 or float16"


@pytest.fixture(params=["cpu", "meta"])
def at(request):
    """Moves tensors to a device whose kernels must check the same."""
    return lambda given: given.to(request.param) if isinstance(given, Tensor) else given


@pytest.mark.parametrize(
    ("arguments", "threshold", "error", "words"),
    [
        ((L.long(), X), 0.1, TypeError, "expected logits with dtype float64, .* got Long"),
        ((L, X.int()), 0.1, TypeError, "expected features with dtype float64, .* got Int"),
        ((L[0, 0], X), 0.1, ValueError, r"expected logits with shape \[\.\.\., N, M\], got \[5\]"),
        ((L, X[0, 0]), 0.1, ValueError, r"expected features with shape \[\.\.\., M, D\], got \[4\]"),
        ((L, X[:1]), 0.1, ValueError, r"features .* fits logits .* = \[2, 3, 5\], got \[1, 5, 4\]"),
        ((L, X[:, :4]), 0.1, ValueError, r"features .* fits logits .* = \[2, 3, 5\], got \[2, 4, 4\]"),
        ((L, X[0]), 0.1, ValueError, r"features .* got \[5, 4\]"),
        ((L, X, V.float()), 0.1, TypeError, "expected valid with dtype bool, got Float"),
        ((L, X, V[:, :4]), 0.1, ValueError, r"expected valid with shape \[\.\.\., M\] .* got \[2, 4\]"),
        ((L, X, V[0]), 0.1, ValueError, r"expected valid with shape .* got \[5\]"),
        ((L, X, V), 1.5, ValueError, "expected threshold with 0 <= threshold <= 1, got 1.5"),
        ((L, X, V), -0.1, ValueError, "expected threshold .* got -0.1"),
        ((L, X, V), math.nan, ValueError, "expected threshold .* got nan"),
    ],
)
def test_weighted_pool(at, arguments, threshold, error, words):
    with pytest.raises(error, match=f"hitpool::weighted_pool: .*{words}"):
        hitpool.weighted_pool(*map(at, arguments), threshold=threshold)


@pytest.mark.parametrize(
    ("op", "arguments", "words"),
    [
        (hitpool.weighted_pool, ([1.0], X), "weighted_pool: expected logits to be a tensor, got list"),
        (hitpool.weighted_pool, (L, X.numpy()), "weighted_pool: expected features to be a tensor, got ndarray"),
        (hitpool.weighted_pool, (L, X, [True]), "weighted_pool: expected valid to be a tensor, got list"),
        (hitpool.pseudorapidity, (0.1,), "pseudorapidity: expected theta to be a tensor, got float"),
        (hitpool.pseudorapidity, (None,), "pseudorapidity: expected theta to be a tensor, got NoneType"),
        (attention, (Q, K, 1), "attention: expected value to be a tensor, got int"),
        (attention, (Q, K, K, True), "attention: expected mask to be a tensor, got bool"),
        (toroid_fit, ([], L, None, [], [], []), "toroid_fit: expected hits to be a tensor, got list"),
        (solenoid_fit, (L, 1, None, 2.0, 0.1, []), "solenoid_fit: expected logits to be a tensor, got int"),
    ],
)
def test_what_is_no_tensor_is_named(op, arguments, words):
    with pytest.raises(TypeError, match=f"^hitpool::{words}$"):
        op(*arguments)


def test_errors_name_the_argument_on_every_device(device):
    with pytest.raises(ValueError, match=r"expected features with shape .* got \[1, 5, 4\]"):
        hitpool.weighted_pool(L.to(device), X[:1].to(device))


def test_errors_name_devices():
    with pytest.raises(ValueError, match="expected features with the device of logits, meta, got cpu"):
        hitpool.weighted_pool(L.to("meta"), X)
    with pytest.raises(ValueError, match="expected valid with the device of logits, meta, got cpu"):
        hitpool.weighted_pool(L.to("meta"), X.to("meta"), V)
    with pytest.raises(ValueError, match="expected value with the device of query, meta, got cpu"):
        attention(Q.to("meta"), K.to("meta"), K)
    with pytest.raises(ValueError, match="expected mask with the device of query, meta, got cpu"):
        attention(Q.to("meta"), K.to("meta"), K.to("meta"), torch.ones(2, 1, 6, dtype=torch.bool))


@pytest.mark.parametrize("size", [3, 5, 16])
def test_attention_has_heads_of_4_or_8_features(at, size):
    query = torch.zeros(2, 3, 2, size)
    with pytest.raises(ValueError, match=rf"query with 4 or 8 features per head, got \[2, 3, 2, {size}\]"):
        attention(*map(at, (query, query, query)))


def test_no_kernel_numbers_more_than_2_to_the_31_hits_or_keys():
    count = 2**31
    most = rf"with at most 2\^31 - 1 {{}} per event, got {count}"
    logits = torch.empty(1, count, device="meta")
    with pytest.raises(ValueError, match="weighted_pool: expected logits " + most.format("hits")):
        hitpool.weighted_pool(logits, torch.empty(count, 1, device="meta"))
    query, key = torch.empty(1, 1, 1, 4, device="meta"), torch.empty(1, count, 1, 4, device="meta")
    with pytest.raises(ValueError, match="attention: expected key " + most.format("keys")):
        attention(query, key, key)
    hits = torch.empty(1, count, 10, device="meta", dtype=torch.float64)
    with pytest.raises(ValueError, match="toroid_fit: expected logits " + most.format("hits")):
        toroid_fit(hits, logits.double().unsqueeze(0), None, [0.0] * 11, [0.0] * 10, [])
    hits = torch.empty(1, count, 11, device="meta", dtype=torch.float64)
    with pytest.raises(ValueError, match="solenoid_fit: expected logits " + most.format("hits")):
        solenoid_fit(hits, logits.double().unsqueeze(0), None, 2.0, 0.015, [1e-3, 0.1])


BACKWARD = {
    "_weighted_pool_backward": {
        "grad": torch.zeros(2, 3, 4, 4),
        "index": torch.zeros(2, 3, 2, 4, dtype=torch.int32),
        "sums": torch.zeros(2, 3, 5),
        "logits": L,
        "features": X,
        "valid": V,
        "threshold": 0.1,
    },
    "_pseudorapidity_backward": {"grad": torch.zeros(3), "theta": torch.ones(3)},
    "_attention_backward": {
        "grad": Q,
        "out": Q,
        "log_sum": torch.zeros(2, 2, 3),
        "query": Q,
        "key": K,
        "value": K,
        "mask": None,
        "window": 0,
        "wrap": False,
    },
}
POOL, ETA, ATTENTION = BACKWARD


@pytest.mark.parametrize("op", BACKWARD)
def test_backward_ops_take_what_fits(at, op):
    getattr(torch.ops.hitpool, op)(*map(at, BACKWARD[op].values()))


@pytest.mark.parametrize(
    ("op", "name", "change", "error", "words"),
    [
        (POOL, "grad", lambda x: x[..., :3], ValueError, r"shape .* = \[2, 3, 4, 4\], got \[2, 3, 4, 3\]"),
        (POOL, "grad", Tensor.long, TypeError, f"{FLOAT}, got Long"),
        (POOL, "index", lambda x: x[:, :, :1], ValueError, r"shape .* = \[2, 3, 2, 4\], got \[2, 3, 1, 4\]"),
        (POOL, "index", Tensor.long, TypeError, "dtype int32, got Long"),
        (POOL, "sums", lambda x: x[..., :4], ValueError, r"shape .* = \[2, 3, 5\], got \[2, 3, 4\]"),
        (POOL, "sums", Tensor.double, TypeError, "dtype Float, got Double"),
        (ETA, "grad", lambda x: x[:2], ValueError, r"the shape of theta, \[3\], got \[2\]"),
        (ETA, "grad", Tensor.cfloat, TypeError, f"{FLOAT}, got ComplexFloat"),
        (ATTENTION, "grad", lambda x: x[:, :2], ValueError, r"shape .* = \[2, 3, 2, 4\], got \[2, 2, 2, 4\]"),
        (ATTENTION, "grad", Tensor.double, TypeError, "the dtype of query, Float, got Double"),
        (ATTENTION, "out", lambda x: x[0], ValueError, r"shape .* = \[2, 3, 2, 4\], got \[3, 2, 4\]"),
        (ATTENTION, "out", Tensor.half, TypeError, "the dtype of query, Float, got Half"),
        (ATTENTION, "log_sum", lambda x: x.mT, ValueError, r"shape \[B, H, Q\] = \[2, 2, 3\], got \[2, 3, 2\]"),
        (ATTENTION, "log_sum", Tensor.double, TypeError, "the dtype of query, Float, got Double"),
    ],
)
def test_backward_ops_check_what_they_read(at, op, name, change, error, words):
    arguments = BACKWARD[op] | {name: change(BACKWARD[op][name])}
    with pytest.raises(error, match=f"^hitpool::{op}: expected {name} with {words}"):
        getattr(torch.ops.hitpool, op)(*map(at, arguments.values()))


@pytest.mark.parametrize(
    ("op", "name", "beside"),
    [
        *((POOL, name, "logits") for name in ("grad", "index", "sums")),
        (ETA, "grad", "theta"),
        *((ATTENTION, name, "query") for name in ("grad", "out", "log_sum")),
    ],
)
def test_backward_ops_name_devices(op, name, beside):
    arguments = [x.to("meta") if isinstance(x, Tensor) and key != name else x for key, x in BACKWARD[op].items()]
    with pytest.raises(ValueError, match=f"{op}: expected {name} with the device of {beside}, meta, got cpu"):
        getattr(torch.ops.hitpool, op)(*arguments)
