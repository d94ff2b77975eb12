"""Results of several processes, with a progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hitpool.files.interrupt import interrupts_kept
from hitpool.files.parallel import ordered_map

Item = TypeVar("Item")
Result = TypeVar("Result")


def produced(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    sizes: Sequence[int],
    processes: int,
    title: str,
    done: int = 0,
) -> Generator[Result, None, None]:
    """Results of `ordered_map`, which starts with the first of them.

    Args:
        function: See `ordered_map`.
        items: See `ordered_map`.
        sizes: Number of events of each item.
        processes: Number of processes.
        title: What the progress bar says.
        done: Number of events that were there before.

    Returns:
        Generator of one result per item; closing it stops the processes.
    """
    columns = TextColumn(title, markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("events")
    # The processes start before the progress bar does: its thread must not be forked.
    results = ordered_map(function, items, processes)
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    with contextlib.closing(results), progress, interrupts_kept() as check_interrupt:
        bar = progress.add_task("", total=done + sum(sizes), completed=done)
        for size, result in zip(sizes, results, strict=True):
            yield result
            check_interrupt()
            progress.advance(bar, size)
