"""Attention in windows against attention with a mask of all pairs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.export import Dim

from hitpool.nn import Encoder
from hitpool.nn.attention import Attention
from hitpool.nn.window import Window


def neighbours(number: int, hits: int, size: int, wrap: bool) -> Tensor:
    """Whether query i may attend to hit j [M, M], one pair after the other."""
    allowed = torch.zeros(hits, hits, dtype=torch.bool)
    for i in range(number):
        for j in range(number):
            away = abs(i - j)
            allowed[i, j] = min(away, number - away) <= size // 2 if wrap else away <= size // 2
    return allowed


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    padding=st.integers(0, 5),
    half=st.integers(1, 12),
    wrap=st.booleans(),
    head=st.sampled_from([3, 4, 8]),
)
def test_window_is_a_mask_of_pairs(numbers: list[int], padding: int, half: int, wrap: bool, head: int) -> None:
    torch.manual_seed(0)
    hits, size = max(numbers) + padding, 2 * half
    attention = Attention(2 * head, num_heads=2).double()
    x = torch.randn(len(numbers), hits, 2 * head, dtype=torch.float64, requires_grad=True)
    valid = torch.arange(hits) < torch.tensor(numbers)[:, None]
    mask = torch.stack([neighbours(number, hits, size, wrap) for number in numbers])
    expected = attention(x, mask=mask)
    found = attention(x, window=Window(valid, size, wrap))
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    wanted = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), x), wanted)


def test_memory_of_a_window_is_linear_in_the_hits() -> None:
    valid = torch.ones(1, 20_000, dtype=torch.bool)
    blocks = Window(valid, 128, wrap=True).blocks
    assert blocks.mask.numel() == 157 * 128 * 256
    assert blocks.keys.numel() == 157 * 256


def test_hits_beyond_the_window_have_no_influence() -> None:
    torch.manual_seed(0)
    encoder, x = Encoder(1, 16, num_heads=4, window_size=8), torch.randn(1, 300, 16)
    valid = torch.ones(1, 300, dtype=torch.bool)
    out, changed = encoder(x, valid), x.clone()
    changed[0, 155] += 1
    moved = (encoder(changed, valid) != out).any(-1)[0].nonzero().flatten()
    assert moved.tolist() == list(range(151, 160))


@pytest.mark.parametrize("size", [0, -2, 7])
def test_a_window_has_two_halves(size: int) -> None:
    with pytest.raises(ValueError, match=f"window_size must be even and at least 2, got {size}"):
        Encoder(1, 16, num_heads=4, window_size=size)


@pytest.mark.parametrize("wrap", [False, True])
def test_an_exported_encoder_takes_any_number_of_hits(wrap: bool) -> None:
    encoder = Encoder(1, 16, num_heads=4, window_size=4, window_wrap=wrap).eval()
    example = torch.randn(2, 3, 16), torch.ones(2, 3, dtype=torch.bool)
    sizes = {0: Dim("events", min=0), 1: Dim("hits", min=0)}
    program = torch.export.export(encoder, example, dynamic_shapes=(sizes, sizes)).module()
    for events, hits in ((2, 3), (1, 4), (3, 9), (0, 5), (2, 0), (1, 1), (2, 64)):
        x = torch.randn(events, hits, 16)
        valid = torch.arange(hits) < torch.randint(0, hits + 1, (events, 1))
        torch.testing.assert_close(program(x, valid)[valid], encoder(x, valid)[valid])
