"""Batches of events from several processes into the files of a data set, with a progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hitpool.cores import available_cores
from hitpool.simulation.events import Events
from hitpool.simulation.parallel import ordered_map
from hitpool.simulation.writer import Writer


def write_batches(
    writer: Writer,
    generate: Callable[[tuple[int, int]], Events],
    sizes: list[int],
    batches_per_file: int,
    processes: int | None,
    title: str,
) -> None:
    """Generates and writes all batches, in their order.

    Args:
        writer: Writer of the data set, which is finished at the end.
        generate: Gives the events of a batch from its number and its number of events, see `ordered_map`.
        sizes: Number of events of each batch.
        batches_per_file: Batches in one file.
        processes: Number of processes; all available cores if None.
        title: What the progress bar says.
    """
    # The processes start before the progress bar does: its thread must not be forked.
    parts = ordered_map(generate, list(enumerate(sizes)), processes or available_cores())
    waiting: list[Events] = []
    with contextlib.closing(parts) as results, _progress(title) as progress:
        task = progress.add_task("", total=sum(sizes))
        for number, result in enumerate(results, start=1):
            waiting.append(result)
            if number == len(sizes) or number % batches_per_file == 0:
                writer.add_file(Events.concatenate(waiting))
                waiting.clear()
            progress.advance(task, result.num_hits.size)
    writer.finish()


def _progress(title: str) -> Progress:
    return Progress(
        TextColumn(title, markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
