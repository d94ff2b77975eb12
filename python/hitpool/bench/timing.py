"""Times of calls that take turns, so that whatever else the machine does meets all of them alike.

In front of its turn a call runs once untimed, as in a loop of its own: caches and allocator are then in the state that
it leaves them in, not in that of the call before it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping

import torch

WARM_UP = 2  # rounds that do not count
BRIEF = 0.05  # a call shorter than this, in seconds, runs once more in front of its turn
TURN = 5e-4  # a turn of a shorter call repeats it for this long, in seconds
SLOW = 1.5  # an alternative that takes longer than this many times the fastest one gets fewer rounds ...
LONG = 2.0  # ... namely those that begin within this time in seconds ...
FEW = 1  # ... but at least these


def times(
    calls: Mapping[str, Callable[[], object]],
    repeat: int = 30,
    alternatives: Collection[str] = (),
    device: str = "cpu",
    on_round: Callable[[int], object] = lambda number: None,
) -> dict[str, list[float]]:
    """Times each call in rounds: every round, every call has its turn.

    CPU: wall time of a turn, divided by the number of calls in it. CUDA: time between two events on the stream, after
    a write that is larger than the L2 cache.

    Args:
        calls: Name of a call -> the call.
        repeat: Rounds that count.
        alternatives: Names of calls of which only the fastest matters: those more than 1.5 times as slow as the
            fastest of them stop after two seconds, but not before one round that counts.
        device: `cpu` or `cuda`.
        on_round: Called after each round with its number, from 1 (the first two do not count).

    Returns:
        Name -> seconds of each of its turns that count.
    """
    turn = _cuda_turn() if device == "cuda" else _cpu_turn
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    counts = dict.fromkeys(calls, 1)
    slow: set[str] = set()
    for number in range(1, WARM_UP + repeat + 1):
        for name, call in calls.items():
            done = seconds[name]
            if name in slow and len(done) > FEW and sum(done[1:]) >= LONG:
                continue
            if done and done[-1] < BRIEF:
                call()
            done.append(turn(call, counts[name]))
        if number <= WARM_UP:  # says how many calls fill a turn, and who is slow
            latest = {name: values[-1] for name, values in seconds.items()}
            counts = {name: max(1, math.ceil(TURN / latest[name])) for name in calls}
            fastest = min((latest[name] for name in alternatives), default=0.0)
            slow = {name for name in alternatives if latest[name] > SLOW * fastest}
        on_round(number)
    return {name: values[min(WARM_UP, len(values) - FEW) :] for name, values in seconds.items()}


def medians(calls: Mapping[str, Callable[[], object]], repeat: int = 30, device: str = "cpu") -> dict[str, float]:
    """Median time of each call, taking turns; see `times`.

    Args:
        calls: Name of a call -> the call.
        repeat: Rounds that count.
        device: `cpu` or `cuda`.

    Returns:
        Name -> seconds.
    """
    return {name: statistics.median(values) for name, values in times(calls, repeat, device=device).items()}


def _cpu_turn(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def _cuda_turn() -> Callable[[Callable[[], object], int], float]:
    size = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    flush = torch.empty(2 * size, dtype=torch.int8, device="cuda")

    def turn(call: Callable[[], object], count: int) -> float:
        flush.zero_()  # also keeps the device busy while the call is being dispatched
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        stop.record()
        stop.synchronize()
        return 1e-3 * start.elapsed_time(stop)

    return turn
