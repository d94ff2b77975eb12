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


def definition_of_pairs(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """The definition for each query and the keys that it may attend to, so that nothing else can have influence."""
    out = torch.zeros_like(query)
    for event, q in torch.cartesian_prod(torch.arange(query.shape[0]), torch.arange(query.shape[1])).tolist():
        keys = slice(None) if mask is None else mask[event].expand(query.shape[1], -1)[q]
        score = torch.einsum("he,khe->hk", query[event, q], key[event, keys]) / math.sqrt(query.shape[-1])
        out[event, q] = torch.einsum("hk,khe->he", score.softmax(-1), value[event, keys])
    return out


def inputs(shape: tuple[int, ...], kind: str, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Tensor | None]:
    events, queries, keys, heads, size = shape
    torch.manual_seed(1)
    lengths = (queries, keys, keys)
    arrays = [torch.randn(events, n, heads, size, dtype=dtype, requires_grad=True) for n in lengths]
    if kind == "none":
        return arrays, None
    if kind == "band":  # neighbours on a ring: whole blocks of pairs are masked
        away = (torch.arange(queries).view(-1, 1) - torch.arange(keys)) % max(1, keys)
        return arrays, ((away <= 5) | (away >= keys - 5)).expand(events, -1, -1)
    mask = torch.rand(events, 1 if kind == "keys" else queries, keys) < 0.5
    mask[..., :1] = True
    return arrays, mask


@pytest.mark.parametrize("kind", ["none", "keys", "pairs", "band"])
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


def separated(kind: str, dtype: torch.dtype, size: int) -> tuple[list[Tensor], Tensor | None, Tensor, Tensor]:
    """Inputs, mask, and the queries [B, Q] and keys [B, K] that must not be seen by the others.

    Without a mask these are one event; with a mask of keys the masked ones, and an event without keys; with a mask of
    pairs queries and keys of a second kind, which attend among themselves.
    """
    arrays, _ = inputs((3, 37, 150, 2, size), "none", dtype)
    events, queries, keys = 3, 37, 150
    of_queries, of_keys = torch.zeros(events, queries, dtype=torch.bool), torch.zeros(events, keys, dtype=torch.bool)
    if kind == "none":
        of_queries[1], of_keys[1] = True, True
        return arrays, None, of_queries, of_keys
    if kind == "keys":
        mask = torch.rand(events, 1, keys) < 0.5
        mask[1] = False
        of_queries[1], of_keys = True, ~mask.squeeze(1)
        return arrays, mask, of_queries, of_keys
    of_queries, of_keys = torch.rand(events, queries) < 0.3, torch.rand(events, keys) < 0.3
    mask = (of_queries.unsqueeze(2) == of_keys.unsqueeze(1)) & (torch.rand(events, queries, keys) < 0.5)
    mask[:, ::5], mask[:, :, ::7] = False, False  # attend to nothing, are attended by nobody
    return arrays, mask, of_queries, of_keys


def bits(x: Tensor) -> Tensor:
    return x.view(torch.int64 if x.dtype == torch.float64 else torch.int32)


@pytest.mark.parametrize("kind", ["none", "keys", "pairs"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("share", [0.02, 1.0])
def test_what_is_masked_changes_no_bit(kind: str, dtype: torch.dtype, special: float, size: int, share: float) -> None:
    arrays, mask, of_queries, of_keys = separated(kind, dtype, size)
    apart = [of_queries, of_keys, of_keys]
    weight = torch.randn_like(arrays[0])

    def results(value: float, share: float) -> list[Tensor]:
        chosen = [own[..., None, None] & (torch.rand_like(x) < share) for x, own in zip(arrays, apart, strict=True)]
        leaves = [torch.where(own, value, x.detach()) for x, own in zip(arrays, chosen, strict=True)]
        out = attention(*(x.requires_grad_() for x in leaves), mask)
        with torch.no_grad():
            assert torch.equal(bits(attention(*leaves, mask)), bits(out))
        return [out, *torch.autograd.grad(out, leaves, torch.where(of_queries[..., None, None], value, weight))]

    got, want = results(special, share), results(0.0, 1.0)
    for ours, theirs, own in zip(got, want, [of_queries, *apart], strict=True):
        assert torch.equal(bits(ours[~own]), bits(theirs[~own]))
    if mask is not None:
        idle, unasked = (~mask.any(2)).expand(of_queries.shape), ~mask.any(1)
        for ours, own in zip(got, [idle, idle, unasked, unasked], strict=True):
            assert own.any()
            assert (ours[own] == 0).all()

    seen = [torch.where(own[..., None, None], 0, x.detach()) for x, own in zip(arrays, apart, strict=True)]
    exact = [x.double().requires_grad_() for x in seen]
    expected = definition(*exact, mask)
    expected = [expected, *torch.autograd.grad(expected, exact, weight.double() * ~of_queries[..., None, None])]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for ours, theirs, own in zip(got, expected, [of_queries, *apart], strict=True):
        torch.testing.assert_close(ours[~own].double(), theirs[~own], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("kind", ["none", "keys", "pairs"])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e200])
def test_what_is_masked_enters_no_higher_derivative(kind: str, special: float) -> None:
    arrays, mask, of_queries, of_keys = separated(kind, torch.float64, 4)
    apart = [of_queries, of_keys, of_keys]
    weight, toward = torch.randn_like(arrays[0]), [torch.randn_like(x) for x in arrays]

    def put(value: float, tensors: list[Tensor]) -> list[Tensor]:
        pairs = zip(tensors, apart[: len(tensors)], strict=True)
        return [torch.where(own[..., None, None], value, x.detach()).requires_grad_() for x, own in pairs]

    def derivatives(value: float) -> list[list[Tensor]]:
        leaves, direction = put(value, arrays), put(value, toward)
        (cotangent,) = put(value, [weight])
        out, tangent = torch.func.jvp(lambda *x: attention(*x, mask), tuple(leaves), tuple(direction))
        first = torch.autograd.grad(out, leaves, cotangent, create_graph=True)
        second = torch.autograd.grad(first, [*leaves, cotangent], direction, create_graph=True)
        third = torch.autograd.grad(second[:3], leaves, direction)
        return [tangent, *first, *second, *third]

    places = [of_queries, *apart, *apart, of_queries, *apart]
    for got, want, own in zip(derivatives(special), derivatives(0.0), places, strict=True):
        assert want[~own].abs().max() > 1e-3
        torch.testing.assert_close(got[~own], want[~own], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["none", "keys", "pairs"])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(3))
def test_what_is_seen_is_not_hidden(kind: str, special: float, place: int) -> None:
    arrays, mask = inputs((2, 20, 3, 2, 4), kind)
    with torch.no_grad():
        arrays[place][1, 0, 1] = special
    ours, theirs = attention(*arrays, mask), definition_of_pairs(*arrays, mask)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12, equal_nan=True)


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
    with pytest.raises(error, match=message):
        attention(**(given | change))
