"""Attention in a window equals the definition with a mask of pairs, written down pair by pair."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitpool.ops.attention import attention


def pairs(mask: Tensor, window: int, wrap: bool) -> Tensor:
    """Which hits see each other [B, K, K], from the mask [B, 1, K]."""
    seen = torch.zeros(mask.shape[0], mask.shape[2], mask.shape[2], dtype=torch.bool)
    for event, allowed in enumerate(mask.squeeze(1)):
        hits = allowed.nonzero().flatten().tolist()
        for i, query in enumerate(hits):
            for j, key in enumerate(hits):
                away = min(abs(i - j), len(hits) - abs(i - j)) if wrap else abs(i - j)
                seen[event, query, key] = away <= window // 2
    return seen


def definition(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    score = torch.einsum("bqhe,bkhe->bhqk", query, key) / math.sqrt(query.shape[-1])
    score = score.masked_fill(~seen.unsqueeze(1), -torch.inf)
    return torch.einsum("bhqk,bkhe->bqhe", score.softmax(-1).nan_to_num(0.0), value)


def arrays(events: int, hits: int, heads: int, size: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys and values of one projection [B, K, 3, H, E]."""
    torch.manual_seed(1)
    return [x.detach().requires_grad_() for x in torch.randn(events, hits, 3, heads, size, dtype=dtype).unbind(2)]


def first(numbers: list[int], hits: int) -> Tensor:
    return (torch.arange(hits) < torch.tensor(numbers).view(-1, 1)).unsqueeze(1)


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(0, 90), min_size=1, max_size=3),
    padding=st.integers(0, 40),
    half=st.integers(1, 30),
    wrap=st.booleans(),
    size=st.sampled_from([4, 8]),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    share=st.sampled_from([1.0, 0.7, 0.1]),
)
def test_equals_the_definition(
    numbers: list[int], padding: int, half: int, wrap: bool, size: int, dtype: torch.dtype, share: float
) -> None:
    hits = max(numbers) + padding
    given_arrays = arrays(len(numbers), hits, 2, size, dtype)
    mask = first(numbers, hits) & (torch.rand(len(numbers), 1, hits) < share)
    exact = [x.detach().double().requires_grad_() for x in given_arrays]
    ours = attention(*given_arrays, mask, 2 * half, wrap)
    theirs = definition(*exact, pairs(mask, 2 * half, wrap))
    weight = torch.randn_like(theirs)
    gradients = torch.autograd.grad((ours * weight.to(dtype)).sum(), given_arrays)
    expected = torch.autograd.grad((theirs * weight).sum(), exact)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for got, want in zip((ours, *gradients), (theirs, *expected), strict=True):
        torch.testing.assert_close(got.double(), want, atol=tolerance, rtol=tolerance)
    with torch.no_grad():
        assert torch.equal(attention(*given_arrays, mask, 2 * half, wrap), ours)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("special", [math.nan, math.inf, 1e30])
def test_what_is_not_seen_changes_no_bit(special: float, dtype: torch.dtype, wrap: bool) -> None:
    hits, masked = 150, [40, *range(130, 150)]
    mask = first([hits], hits)
    mask[..., masked] = False
    seen = pairs(mask, 20, wrap)[0]
    own = seen[:5].any(0)  # what the first five hits see
    apart = ~seen[seen[own].any(0)].any(0)  # what is seen by nothing that sees something of that
    weight = torch.randn(1, hits, 2, 4, dtype=dtype)
    weight[:, 5:] = 0

    def results(value: float) -> list[Tensor]:
        leaves = [x.detach().clone() for x in arrays(1, hits, 2, 4, dtype)]
        for x in leaves:
            x[:, apart] = value
        out = attention(*(x.requires_grad_() for x in leaves), mask, 20, wrap)
        return [out[:, :5], *(x[:, own] for x in torch.autograd.grad(out[:, :5], leaves, weight[:, :5]))]

    for got, want in zip(results(special), results(0.0), strict=True):
        assert want.abs().max() > 1e-3
        assert torch.equal(got, want)


def test_a_hit_that_the_mask_leaves_out_gets_zero() -> None:
    mask = first([20], 24)
    given_arrays = arrays(1, 24, 2, 4, torch.float32)
    for x in given_arrays:
        x.data[:, 20:] = torch.nan
    out = attention(*given_arrays, mask, 6)
    assert (out[:, 20:] == 0).all()
    assert out.isfinite().all()
    for gradient in torch.autograd.grad(out.sum(), given_arrays):
        assert (gradient[:, 20:] == 0).all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("window", [80, 2**34, 2**63 - 2])
def test_a_window_larger_than_the_event_is_none(window: int, wrap: bool) -> None:
    given_arrays, mask = arrays(2, 40, 2, 4, torch.float32), first([40, 13], 40)
    out = attention(*given_arrays, mask, window, wrap)
    torch.testing.assert_close(out, definition(*given_arrays, pairs(mask, 1000, wrap)), atol=1e-5, rtol=1e-5)
    gradients = torch.autograd.grad(out.square().sum(), given_arrays)
    masked = attention(*given_arrays, mask)  # of hits that are left out, too
    expected = torch.autograd.grad(masked.square()[mask.squeeze(1)].sum(), given_arrays)
    for got, want in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wrap", [False, True])
def test_does_not_depend_on_strides_or_threads(wrap: bool) -> None:
    given_arrays, mask = arrays(3, 200, 4, 8, torch.float32), first([200, 150, 7], 200)
    copies = [x.detach().contiguous().requires_grad_() for x in given_arrays]
    threads = torch.get_num_threads()
    results = []
    try:
        for number, leaves in ((1, given_arrays), (3, given_arrays), (1, copies)):
            torch.set_num_threads(number)
            out = attention(*leaves, mask, 32, wrap)
            results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("wrap", [False, True])
def test_gradients_of_gradients(wrap: bool) -> None:
    given_arrays, mask = arrays(2, 5, 2, 4, torch.float64), first([5, 3], 5)

    def windowed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attention(query, key, value, mask, 2, wrap)

    assert torch.autograd.gradcheck(windowed, given_arrays, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(windowed, given_arrays)


def test_opcheck_and_compile() -> None:
    given_arrays, mask = arrays(2, 9, 2, 4, torch.float32), first([9, 3], 9)
    torch.library.opcheck(torch.ops.hitpool.attention, (*given_arrays, mask, 4, True))
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given_arrays, mask, 4, True), attention(*given_arrays, mask, 4, True))


def test_vmap_is_a_loop() -> None:
    sets = [torch.stack([x.detach(), 2 * x.detach()]) for x in arrays(2, 9, 2, 4, torch.float32)]
    mask = first([9, 3], 9)
    found = torch.func.vmap(lambda q, k, v: attention(q, k, v, mask, 4, True))(*sets)
    for got, *each in zip(found, *sets, strict=True):
        torch.testing.assert_close(got, attention(*each, mask, 4, True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 3}, "expected window with an even value, 0 for none, got 3"),
        ({"window": -2}, "expected window with an even value"),
        ({"query": torch.zeros(2, 2, 2, 4)}, "expected query with the hits of key, because of the window"),
        ({"mask": None}, r"expected mask with shape \[B, 1, K\], because of the window, got None"),
        ({"mask": torch.ones(2, 3, 3) > 0}, r"expected mask with shape \[B, 1, K\], because of the window"),
    ],
)
def test_errors_name_the_argument(change: dict[str, object], message: str) -> None:
    given_arguments = {name: torch.zeros(2, 3, 2, 4) for name in ("query", "key", "value")}
    given_arguments |= {"mask": torch.ones(2, 1, 3) > 0, "window": 2}
    with pytest.raises(ValueError, match=message):
        attention(**(given_arguments | change))
