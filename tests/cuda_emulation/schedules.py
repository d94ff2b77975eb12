"""A call under several schedules: what it must not depend on."""

import random
from collections.abc import Iterator

import torch
from torch import Tensor

from .emulation import Schedule
from .kernels import Call, Kernels


def schedules(seed: int) -> Iterator[Schedule]:
    """One of each kind; the first is the plainest."""
    r = random.Random(seed)
    yield Schedule("ascending", seed=seed)
    yield Schedule("descending", garbage=0, max_grid=r.choice([0, 1, 3]), seed=seed + 1)
    yield Schedule("random", r.choice([3, 30, 300]), garbage=-1, max_grid=r.choice([0, 2, 7]), seed=seed + 2)
    yield Schedule("priorities", r.choice([3, 30, 300]), garbage=0x7F, seed=seed + 3)


def bits(result: Tensor) -> bytes:
    return result.contiguous().view(torch.uint8).numpy().tobytes()


def run(
    kernels: Kernels, call: Call, seed: int, shift: int = 0, output_shift: int = 0
) -> tuple[dict[str, Tensor], list[str]]:
    """Results of the first schedule, and what is wrong with the first one that is not as it has to be.

    Args:
        kernels: The kernels.
        call: What is calculated.
        seed: Of the schedules.
        shift: How far every input is from a multiple of 64 bytes, in numbers.
        output_shift: The same of results.
    """
    first: dict[str, Tensor] = {}
    for schedule in schedules(seed):
        kernels.set_schedule(schedule)
        results = kernels.run(call, shift=shift, output_shift=output_shift, fill=0x5A if first else 0xFF)
        problems = kernels.take_problems()
        first = first or results
        problems += [
            f"{name}: not the bits of the first schedule" for name in first if bits(first[name]) != bits(results[name])
        ]
        if problems:
            return first, [f"{schedule.order}: {problem}" for problem in problems]
    return first, []
