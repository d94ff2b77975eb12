"""The CUDA kernels of pseudorapidity, executed on the CPU, against mpmath."""

import math

import mpmath
import pytest
import torch

from .kernels import DTYPES, Kernels
from .schedules import schedules

LIMITS = {torch.float64: 4, torch.float32: 3, torch.bfloat16: 0.501, torch.float16: 0.501}  # units in the last place


def angles(dtype: torch.dtype) -> torch.Tensor:
    """Everywhere, near the axis, and around the places where the formula changes; none that stands for 0 or pi."""
    spread = torch.rand(300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    smallest = math.log2(torch.finfo(dtype).smallest_normal)
    theta = [math.pi * spread, 2 ** (smallest * spread), math.pi - 2 ** (-20 * spread)]
    theta += [at + (spread - 0.5) * 2 ** (-20 * spread) for at in (1.0, math.pi / 2, math.pi - 1)]
    theta = torch.cat(theta).to(dtype)
    return theta[(theta > 0) & (theta.double() < math.pi) & (theta < torch.tensor(math.pi, dtype=dtype))]


def worst_error(results: torch.Tensor, exact: list[mpmath.mpf]) -> float:
    """In units in the last place."""
    digits = 1 - math.log2(torch.finfo(results.dtype).eps)
    worst = 0.0
    for result, value in zip(results.tolist(), exact, strict=True):
        unit = mpmath.mpf(2) ** (mpmath.frexp(value)[1] - digits)
        worst = max(worst, float(abs(mpmath.mpf(result) - value) / unit))
    return worst


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_units_in_the_last_place(kernels: Kernels, dtype: torch.dtype):
    theta = angles(dtype)
    grad = torch.ones_like(theta)
    results = []
    for shift, schedule in enumerate(schedules(2)):
        kernels.set_schedule(schedule)
        results.append((kernels.eta(theta, shift), kernels.eta_gradient(grad, theta, shift)))
        assert kernels.take_problems() == []
    for eta, gradient in results:
        assert torch.equal(eta, results[0][0])
        assert torch.equal(gradient, results[0][1])
    with mpmath.workdps(40):
        exact = [mpmath.mpf(angle) for angle in theta.tolist()]
        assert worst_error(results[0][0], [-mpmath.log(mpmath.tan(angle / 2)) for angle in exact]) < LIMITS[dtype]
        assert worst_error(results[0][1], [-1 / mpmath.sin(angle) for angle in exact]) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_edges_are_those_of_the_cpu(kernels: Kernels, dtype: torch.dtype):
    theta = torch.tensor([0.0, -0.0, math.pi, -1e-3, 4.0, math.nan, math.inf, -math.inf], dtype=dtype)
    grad = torch.tensor([1, -1, 2, 1, 1, 1, 1, 0], dtype=dtype)
    torch.testing.assert_close(kernels.eta(theta), torch.ops.hitpool.pseudorapidity(theta), equal_nan=True)
    expected = torch.ops.hitpool._pseudorapidity_backward(grad, theta)
    torch.testing.assert_close(kernels.eta_gradient(grad, theta), expected, equal_nan=True)
    assert kernels.take_problems() == []
