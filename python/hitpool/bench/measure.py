"""Times every way to pool in every case: checked first, then all in turns."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from hitpool.bench import floor, ways
from hitpool.bench.cases import Case, make_inputs
from hitpool.bench.check import Expected
from hitpool.bench.machine import available_bytes
from hitpool.bench.timing import times

FORWARD, STEP = "forward", "forward + backward"
FLOOR = "floor"
SHARE = 0.5  # of the free memory that a way may take

Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Row:
    """Time of one way in one case, or why there is none."""

    case: Case
    threads: int
    mode: str
    way: str
    seconds: float | None = None  # median of the rounds
    rounds: int = 0
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def time_case(
    case: Case, threads: int, repeat: int, bandwidth: float | None, on_step: Callable[[str], object]
) -> Iterator[Row]:
    """Times every way in one case.

    Args:
        case: What to time.
        threads: Threads that torch uses.
        repeat: Rounds that count.
        bandwidth: Measured bandwidth of the GPU in bytes per second; None on the CPU, where the floor is timed.
        on_step: Called with a few words before each part of the work.

    Yields:
        A row for each mode and way.

    Raises:
        AssertionError: the results of `hitpool.weighted_pool` are wrong.
    """
    torch.set_num_threads(threads)
    torch._dynamo.reset()  # compiled code is made for the number of threads
    inputs = make_inputs(case)
    on_step("reference")
    expected = Expected(*inputs, case.backward)
    pools, notes = {}, {}
    for name in ways.WAYS:
        note = ways.missing(name)
        if note is None:
            pools[name] = ways.make(name)
        else:
            notes[name] = note
    for mode in (FORWARD, STEP) if case.backward else (FORWARD,):
        backward = mode == STEP
        refused = dict(notes)
        for name, pool in pools.items():
            on_step(f"check {name}")
            note = _refusal(name, pool, case, expected, backward)
            if note is not None:
                refused[name] = note
        calls = {name: _call(pool, inputs, backward) for name, pool in pools.items() if name not in refused}
        alternatives = [name for name in calls if name != ways.OURS]
        if bandwidth is None:
            try:
                calls[FLOOR] = floor.cpu_floor(*inputs, backward)
            except (FileNotFoundError, subprocess.CalledProcessError) as error:
                refused[FLOOR] = str(error)
        with torch.inference_mode(not backward):
            seconds = times(calls, repeat, alternatives, case.device, lambda number: on_step(f"round {number}"))
        if bandwidth is not None:
            seconds[FLOOR] = [floor.moved_bytes(*inputs, backward) / bandwidth]
        for name, values in seconds.items():
            yield Row(case, threads, mode, name, statistics.median(values), len(values))
        for name, note in refused.items():
            yield Row(case, threads, mode, name, note=note)


def _refusal(name: str, pool: ways.Pool, case: Case, expected: Expected, backward: bool) -> str | None:
    """Why a way is not timed: too large, does not work, wrong. None if it is. Ours must be right."""
    needed, free = ways.needed_bytes(name, case, backward), available_bytes(case.device)
    if needed > SHARE * free:
        return f"not run: needs {needed / 2**30:.0f} GiB"
    check = expected.check_backward if backward else expected.check_forward
    if name == ways.OURS:
        check(pool)
        return None
    try:
        check(pool)
    except AssertionError as error:
        return f"wrong: {_first_line(error)}"
    except Exception as error:  # an alternative that does not work is a result of the comparison
        return f"failed: {type(error).__name__}: {_first_line(error)}"
    return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:200]


def _call(pool: ways.Pool, inputs: Inputs, backward: bool) -> Callable[[], object]:
    logits, features, valid = inputs
    if not backward:
        return lambda: pool(logits, features, valid)
    leaves = logits.detach().requires_grad_(), features.detach().requires_grad_()
    grad = torch.ones(*logits.shape[:2], 4, features.shape[-1], dtype=features.dtype, device=features.device)
    return lambda: torch.autograd.grad(pool(*leaves, valid), leaves, grad)
