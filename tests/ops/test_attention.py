"""The compiled attention equals the definition, with its gradients, and everything that torch asks of an op."""

import math

import pytest
import torch
from torch import Tensor

from hitpool.ops.attention import attention

SHAPES = [(3, 17, 23, 8, 4), (2, 2, 60, 4, 8), (2, 70, 2, 2, 4), (1, 150, 131, 1, 8), (2, 0, 3, 2, 4), (0, 3, 3, 2, 4)]


def definition(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    score = torch.einsum("bqhe,bkhe->bhqk", query, key) / math.sqrt(query.shape[-1])
    if mask is not None:
        score = score.masked_fill(~mask.unsqueeze(1), -torch.inf)
    return torch.einsum("bhqk,bkhe->bqhe", score.softmax(-1).nan_to_num(0.0), value)


def inputs(shape: tuple[int, ...], kind: str, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Tensor | None]:
    events, queries, keys, heads, size = shape
    torch.manual_seed(1)
    lengths = (queries, keys, keys)
    arrays = [torch.randn(events, n, heads, size, dtype=dtype, requires_grad=True) for n in lengths]
    if kind == "none":
        return arrays, None
    mask = torch.rand(events, 1 if kind == "keys" else queries, keys) < 0.5
    mask[..., :1] = True
    return arrays, mask


@pytest.mark.parametrize("kind", ["none", "keys", "pairs"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
def test_equals_the_definition(shape: tuple[int, ...], kind: str, dtype: torch.dtype, tolerance: float) -> None:
    arrays, mask = inputs(shape, kind, dtype)
    exact = [x.detach().double().requires_grad_() for x in arrays]
    ours, theirs = attention(*arrays, mask), definition(*exact, mask)
    weight = torch.randn_like(theirs)
    gradients = torch.autograd.grad((ours * weight.to(dtype)).sum(), arrays)
    expected = torch.autograd.grad((theirs * weight).sum(), exact)
    for got, want in zip((ours, *gradients), (theirs, *expected), strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), want, atol=tolerance, rtol=tolerance)


def test_forward_on_every_device(device: torch.device) -> None:
    arrays, mask = inputs((2, 9, 11, 2, 4), "keys", torch.float32)
    with torch.inference_mode():
        moved = attention(*(x.detach().to(device) for x in arrays), mask.to(device))
        assert moved.device.type == device.type
        torch.testing.assert_close(moved.cpu(), definition(*arrays, mask), atol=1e-5, rtol=1e-5)


def test_large_scores_do_not_overflow() -> None:
    arrays, _ = inputs((1, 5, 200, 2, 4), "none", torch.float32)
    arrays = [(100 * x).detach().requires_grad_() for x in arrays]
    exact = [x.detach().double().requires_grad_() for x in arrays]
    torch.testing.assert_close(attention(*arrays).double(), definition(*exact, None), atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("kind", ["keys", "pairs"])
def test_what_nobody_may_attend_to_has_no_influence(kind: str) -> None:
    arrays, mask = inputs((2, 7, 40, 2, 4), kind)
    mask[:, :, 11:] = False
    poisoned = [arrays[0], *(x.detach().clone() for x in arrays[1:])]
    for x in poisoned[1:]:
        x[:, 11:] = torch.nan
        x.requires_grad_()
    ours, theirs = attention(*poisoned, mask), attention(*arrays, mask)
    assert torch.equal(ours, theirs)
    for x, y in zip(torch.autograd.grad(ours.sum(), poisoned), torch.autograd.grad(theirs.sum(), arrays), strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("kind", ["keys", "pairs"])
def test_a_query_without_keys_gets_zero(kind: str) -> None:
    arrays, mask = inputs((2, 5, 20, 2, 4), kind)
    mask[0, -1] = False
    out = attention(*arrays, mask)
    assert (out[0, -1] == 0).all()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(out.sum(), arrays))


def test_nan_of_a_query_stays_its_own() -> None:
    arrays, _ = inputs((1, 20, 20, 1, 4), "none")
    arrays[0].data[0, 3, 0, 1] = torch.nan
    out = attention(*arrays)
    assert out[0, 3].isnan().all()
    assert out.isnan().sum() == 4


@pytest.mark.parametrize("kind", ["none", "keys", "pairs"])
def test_does_not_depend_on_strides_or_threads(kind: str) -> None:
    arrays, mask = inputs((3, 200, 90, 4, 8), kind, torch.float32)
    strided = [x.detach().transpose(1, 3).contiguous().transpose(1, 3).requires_grad_() for x in arrays]
    assert not strided[0].is_contiguous()
    threads = torch.get_num_threads()
    results = []
    try:
        for number, given in ((1, arrays), (3, arrays), (1, strided)):
            torch.set_num_threads(number)
            out = attention(*given, mask)
            results.append([out, *torch.autograd.grad(out.square().sum(), given)])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("kind", ["none", "keys", "pairs"])
def test_gradients_of_gradients(kind: str) -> None:
    arrays, mask = inputs((2, 3, 4, 2, 4), kind)
    assert torch.autograd.gradcheck(attention, (*arrays, mask))
    assert torch.autograd.gradgradcheck(attention, (*arrays, mask))


@pytest.mark.parametrize("kind", ["none", "keys"])
def test_opcheck(kind: str) -> None:
    arrays, mask = inputs((2, 3, 5, 2, 4), kind, torch.float32)
    torch.library.opcheck(torch.ops.hitpool.attention, (*arrays, mask))


def test_compiles() -> None:
    arrays, mask = inputs((2, 3, 5, 2, 4), "keys", torch.float32)
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arrays, mask), attention(*arrays, mask))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query": torch.zeros(2, 3, 2, 5)}, ValueError, "4 or 8 features per head"),
        ({"query": torch.zeros(2, 3, 4)}, ValueError, r"expected query with shape \[B, Q, H, E\]"),
        ({"key": torch.zeros(2, 3, 1, 4)}, ValueError, r"expected key with shape \[B, K, H, E\]"),
        ({"value": torch.zeros(2, 4, 2, 4)}, ValueError, r"expected value with shape \[B, K, H, E\]"),
        ({"key": torch.zeros(2, 3, 2, 4).double()}, TypeError, "expected key with the dtype of query"),
        ({"query": torch.zeros(2, 3, 2, 4).half()}, TypeError, "expected query with dtype float64 or float32"),
        ({"mask": torch.zeros(2, 2, 3) > 0}, ValueError, r"expected mask with shape \[B, 1 or Q, K\]"),
        ({"mask": torch.zeros(2, 1, 3)}, TypeError, "expected mask with dtype bool"),
    ],
)
def test_errors_name_the_argument(change: dict[str, Tensor], error: type[Exception], message: str) -> None:
    given = {name: torch.zeros(2, 3, 2, 4) for name in ("query", "key", "value")} | {"mask": None}
    if "query" in change and change["query"].shape[-1] == 5:
        given |= {"key": change["query"], "value": change["query"]}
    with pytest.raises(error, match=message):
        attention(**(given | change))
