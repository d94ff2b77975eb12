"""Times `hitpool.pseudorapidity` against the formula in torch, and a copy."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

import hitpool
from hitpool.bench.cases import torch_dtype
from hitpool.bench.measure import FORWARD, STEP
from hitpool.bench.timing import times
from hitpool.bench.ways import COMPILED, OURS

CHAIN, COPY = "chain", "copy"
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class AngleRow:
    """Time of one way to calculate pseudorapidities."""

    dtype: str
    threads: int
    mode: str
    way: str
    seconds: float  # median of the rounds
    device: str = "cpu"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def chain(theta: Tensor) -> Tensor:
    """-log(tan(theta / 2)) in four operations; inaccurate near eta = 0.

    Args:
        theta: Polar angles in rad.

    Returns:
        Their pseudorapidities.
    """
    return -torch.log(torch.tan(theta / 2))


def time_angles(
    angles: int, dtype: str, threads: int, repeat: int, device: str, on_step: Callable[[str], object]
) -> Iterator[AngleRow]:
    """Times the ways to calculate pseudorapidities.

    Args:
        angles: Number of angles.
        dtype: Name of the dtype.
        threads: Threads that torch uses.
        repeat: Rounds that count.
        device: `cpu` or `cuda`.
        on_step: Called with a few words before each part of the work.

    Yields:
        A row for each mode and way.

    Raises:
        AssertionError: the ways do not agree.
    """
    torch.set_num_threads(threads)
    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    theta = 0.02 + 3.1 * torch.rand(angles, generator=generator, dtype=torch.float64)
    theta = theta.to(device, torch_dtype(dtype))
    ways = {OURS: hitpool.pseudorapidity, CHAIN: chain, CHAIN + COMPILED: torch.compile(chain, dynamic=False)}
    leaf, grad = theta.clone().requires_grad_(), torch.ones_like(theta)

    def gradient(way: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.autograd.grad(way(leaf), leaf, grad)[0]

    on_step("check")
    for way in ways.values():
        torch.testing.assert_close(way(theta), chain(theta), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(gradient(way), gradient(chain), rtol=1e-4, atol=1e-6)
    modes = {
        FORWARD: {name: lambda way=way: way(theta) for name, way in ways.items()},
        STEP: {name: lambda way=way: gradient(way) for name, way in ways.items()},
    }
    for mode, calls in modes.items():
        with torch.inference_mode(mode == FORWARD):
            seconds = times(calls | {COPY: theta.clone}, repeat, (), device, lambda number: on_step(f"round {number}"))
        for name, values in seconds.items():
            yield AngleRow(dtype, threads, mode, name, statistics.median(values), device)
