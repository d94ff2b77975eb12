"""Times every way to pool in a case: checked first, then all in turns."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from hitpool.bench import floor, ways
from hitpool.bench.cases import Case, make_inputs
from hitpool.bench.check import Expected
from hitpool.bench.machine import available_bytes
from hitpool.bench.timing import times

FORWARD, STEP = "forward", "forward + backward"
FLOOR, FLOOR_BY_TRACK = "floor", "floor by track"
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
    case: Case,
    names: Sequence[str],
    threads: Sequence[int],
    repeat: int,
    bandwidth: float | None,
    on_step: Callable[[str], object],
) -> Iterator[Row]:
    """Times ways in one case.

    Args:
        case: What to time.
        names: Names in `hitpool.bench.ways.WAYS`.
        threads: Numbers of threads.
        repeat: Rounds that count.
        bandwidth: Measured bandwidth of the GPU in bytes per second; None on the CPU, where the floor is timed.
        on_step: Called with a few words before each part of the work.

    Yields:
        A row for each number of threads, mode and way.

    Raises:
        AssertionError: the results of `hitpool.weighted_pool` are wrong.
    """
    torch.set_num_threads(max(threads))
    inputs = make_inputs(case)
    on_step("reference")
    expected = Expected(*inputs, case.backward)
    verdicts: dict[tuple[str, str], str | None] = {}  # of what is the same for every number of threads
    for number in threads:
        torch.set_num_threads(number)
        torch._dynamo.reset()  # compiled code is made for the number of threads
        pools = {name: ways.make(name) for name in names}
        for mode in (FORWARD, STEP) if case.backward else (FORWARD,):
            backward, refused, calls = mode == STEP, {}, {}
            for name, pool in pools.items():
                on_step(f"check {name}")
                note = verdicts.get((mode, name)) or refusal(name, case, backward)
                if note is None and (mode, name) not in verdicts:
                    note = _mistake(name, pool, expected, backward)
                if not name.endswith(ways.COMPILED):
                    verdicts[mode, name] = note
                if note is None:
                    calls[name] = _call(pool, inputs, backward)
                else:
                    refused[name] = note
            alternatives = [name for name in calls if name != ways.OURS]
            if bandwidth is None:
                for name in (FLOOR, FLOOR_BY_TRACK):
                    try:
                        calls[name] = floor.cpu_floor(*inputs, backward, by_track=name == FLOOR_BY_TRACK)
                    except (FileNotFoundError, subprocess.CalledProcessError) as error:
                        refused[name] = str(error)
            with torch.inference_mode(not backward):
                seconds = times(calls, repeat, alternatives, case.device, lambda round_: on_step(f"round {round_}"))
            if bandwidth is not None:
                seconds[FLOOR] = [floor.moved_bytes(*inputs, backward) / bandwidth]
            for name, values in seconds.items():
                yield Row(case, number, mode, name, statistics.median(values), len(values))
            for name, note in refused.items():
                yield Row(case, number, mode, name, note=note)


def refusal(name: str, case: Case, backward: bool) -> str | None:
    """Why a way is not tried.

    Args:
        name: Name in `hitpool.bench.ways.WAYS`.
        case: Its inputs.
        backward: Whether gradients are calculated.

    Returns:
        That it is not installed, or that it needs too much memory; None if it is tried.
    """
    needed, free = ways.needed_bytes(name, case, backward), available_bytes(case.device)
    if name != ways.OURS and needed > SHARE * free:
        return f"not run: needs about {needed / 2**30:.0f} GiB, more than half of the free memory"
    return ways.missing(name)


def _mistake(name: str, pool: ways.Pool, expected: Expected, backward: bool) -> str | None:
    """What is wrong with a way: it fails, or its results are wrong. None if nothing is. Ours must be right."""
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
