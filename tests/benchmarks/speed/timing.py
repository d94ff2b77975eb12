"""Medians of calls that take turns, work in a process of its own, and tables."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch.utils import benchmark

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces itself
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["hitpool"])


def medians(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Times of calls in turns, so that whatever else the machine does meets all of them alike.

    One thread on a machine without GPU: CPU time, which other processes change little. Else wall time.

    Args:
        calls: Name -> call.
        rounds: Turns of each call, of 0.1 s or one call.

    Returns:
        Name -> median of the turns in seconds.
    """
    threads = torch.get_num_threads()
    clock = time.process_time if threads == 1 and not torch.cuda.is_available() else benchmark.timer
    timers = {
        name: benchmark.Timer("call()", globals={"call": call}, timer=clock, num_threads=threads)
        for name, call in calls.items()
    }
    turns = [
        {name: timer.blocked_autorange(min_run_time=0.1).median for name, timer in timers.items()}
        for _ in range(rounds)
    ]
    return {name: statistics.median(turn[name] for turn in turns) for name in calls}


def apart(function: Callable, *arguments: object):
    """Calls a function in a new process: neither work before it nor the memory that this left has any influence."""
    with ProcessPoolExecutor(1, CONTEXT) as process:
        return process.submit(function, *arguments).result()


def show(title: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Prints a table in Markdown."""
    lines = [list(header), *rows]
    lines.insert(1, ["---"] * len(lines[0]))
    print(f"{title}\n", *(f"| {' | '.join(map(str, line))} |" for line in lines), "", sep="\n", flush=True)
