"""The ops of hitpool as standard operators of ONNX, against the ops."""

import math

import pytest
import torch
from torch import Tensor

import hitpool
from hitpool.export.recording import EVENTS, HITS
from hitpool.ops.attention import attention

SIZES = ((1, 1), (4, 7), (2, 60), (3, 0), (0, 5))
FREE = {3: EVENTS, 7: HITS}


def assert_close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    assert got.dtype == expected.dtype
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def tolerance_of(dtype: torch.dtype) -> float:
    return 20 * torch.finfo(dtype).eps


@pytest.fixture(scope="module")
def pool(as_onnx, dtype: torch.dtype):
    def function(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
        return hitpool.weighted_pool(logits, features, valid, threshold=0.1)

    example = torch.zeros(3, 2, 7, dtype=dtype), torch.zeros(3, 7, 5, dtype=dtype), torch.ones(3, 7).bool()
    return as_onnx(function, example, FREE)


def pool_arguments(events: int, hits: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(hits)
    logits = 3 * torch.randn(events, 2, hits, generator=generator, dtype=dtype)
    features = torch.randn(events, hits, 5, generator=generator, dtype=dtype)
    return logits, features, torch.rand(events, hits, generator=generator) < 0.8


@pytest.mark.parametrize(("events", "hits"), SIZES)
def test_pooling(pool, dtype: torch.dtype, events: int, hits: int) -> None:
    given = pool_arguments(events, hits, dtype)
    assert_close(pool(*given), hitpool.weighted_pool(*given), tolerance_of(dtype))


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_pooling_of_special_features_of_hits_that_are_selected_or_not(pool, dtype: torch.dtype, special: float) -> None:
    logits, features, valid = pool_arguments(4, 30, dtype)
    valid[:, 0], logits[:, 0, 0], logits[:, 1, 0] = True, 5.0, -9.0
    features[0, 0, 1] = special  # of the first track, not of the second
    features[1] = torch.where(valid[1].unsqueeze(-1), features[1], special)
    logits[2, :, 3], features[2, 3], valid[2, 3] = -9.0, special, True
    features[3, :2, 2], valid[3], logits[3] = torch.tensor([special, -special]), True, 2.0
    got, expected = pool(logits, features, valid), hitpool.weighted_pool(logits, features, valid)
    assert_close(got, expected, tolerance_of(dtype))
    assert got[0, 1].isfinite().all()


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_pooling_with_special_logits(pool, dtype: torch.dtype, special: float) -> None:
    logits, features, valid = pool_arguments(4, 30, dtype)
    valid[:, 0], valid[1, 0] = True, False
    logits[0, 0, 0] = logits[1, 0, 0] = special
    got, expected = pool(logits, features, valid), hitpool.weighted_pool(logits, features, valid)
    assert_close(got, expected, tolerance_of(dtype))
    assert got[0, 0].isnan().all() == math.isnan(special)
    assert got[0, 1].isfinite().all()


def test_pooling_of_no_hits_gives_zeros(pool, dtype: torch.dtype) -> None:
    logits, features, valid = pool_arguments(2, 30, dtype)
    assert (pool(logits, features, valid & False) == 0).all()
    assert (pool(logits - 99, features, valid) == 0).all()


def test_pooling_without_padding_and_with_another_threshold(as_onnx) -> None:
    def function(logits: Tensor, features: Tensor) -> Tensor:
        return hitpool.weighted_pool(logits, features.double(), threshold=0.5)

    logits, features, _ = pool_arguments(3, 7, torch.float32)
    run = as_onnx(function, [logits, features], FREE)
    assert_close(run(logits, features), function(logits, features), 1e-14)


@pytest.mark.parametrize(("events", "hits"), SIZES)
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_attention(as_onnx, dtype: torch.dtype, rows: int, events: int, hits: int) -> None:
    """Without a mask, with one for all queries and with one for each of 4; some allow nothing."""
    generator = torch.Generator().manual_seed(hits)

    def arguments(events: int, hits: int) -> list[Tensor]:
        query = torch.randn(events, 4, 2, 8, generator=generator, dtype=dtype)
        key, value = torch.randn(2, events, hits, 2, 8, generator=generator, dtype=dtype)
        mask = torch.rand(events, rows or 1, hits, generator=generator) < 0.6
        mask[:1] = False
        return [query, key, value, mask][: 4 if rows else 3]

    run = as_onnx(attention, arguments(3, 7), FREE)
    given = arguments(events, hits)
    assert_close(run(*given), attention(*given), tolerance_of(dtype))


@pytest.mark.parametrize(("events", "hits"), SIZES)
@pytest.mark.parametrize("wrap", [False, True])
def test_attention_in_window(as_onnx, wrap: bool, events: int, hits: int) -> None:
    def windowed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        return attention(query, key, value, mask, 4, wrap)

    def arguments(events: int, hits: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(hits)
        arrays = torch.randn(3, events, hits, 2, 8, generator=generator)
        number = torch.randint(0, hits + 1, (events, 1, 1), generator=generator)
        return [*arrays, torch.arange(hits) < number]

    run = as_onnx(windowed, arguments(3, 7), FREE)
    given = arguments(events, hits)
    assert_close(run(*given), windowed(*given), tolerance_of(torch.float32))


def test_attention_of_torch(as_onnx) -> None:
    def function(query: Tensor, mask: Tensor) -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, query, query, mask)

    generator = torch.Generator().manual_seed(1)
    query, mask = torch.randn(3, 2, 7, 16, generator=generator), torch.rand(3, 1, 7, 7, generator=generator) < 0.5
    mask |= torch.eye(7).bool()
    assert_close(as_onnx(function, [query, mask], FREE)(query, mask), function(query, mask), 1e-6)


def test_pseudorapidity(as_onnx, dtype: torch.dtype) -> None:
    pi = torch.tensor(math.pi, dtype=dtype)
    ends = torch.stack([0 * pi, -0.0 * pi, pi, pi / 2, 3.1 + 0 * pi, -pi, 4 + 0 * pi, math.nan * pi])
    small = torch.tensor([1e-300 if dtype == torch.float64 else 1e-38, 1e-20, 1e-9, 1e-7, 1e-3], dtype=dtype)
    near = (pi / 2) * (1 + torch.tensor([1e-6, -1e-6, 1e-3], dtype=dtype))
    theta = torch.cat([ends, small, near, torch.linspace(0.01, 3.13, 500, dtype=dtype)])
    got, expected = as_onnx(hitpool.pseudorapidity, [theta])(theta), hitpool.pseudorapidity(theta)
    limits = {"rtol": 1e-14, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 3e-7, "atol": 0}
    torch.testing.assert_close(got, expected, **limits, equal_nan=True)
