"""A function applied to many items by several processes, results in order."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Generator[Result, None, None]:
    """Results of `function` in the order of the items.

    Process k computes the items k, k + processes, ... and waits while its results are not yet read, so few
    results are in memory. The processes are forked: they start at once with everything imported, and stop by
    themselves if the parent dies. The function must therefore not use libraries with threads of their own.

    Args:
        function: A function of one item.
        items: The items.
        processes: Number of processes; with 1 everything is computed here.

    Returns:
        Generator of one result per item; closing it stops the processes. It raises whatever the function raised,
        and RuntimeError if a process died.
    """
    processes = min(processes, len(items))
    if processes <= 1:
        return (function(item) for item in items)
    context = multiprocessing.get_context("fork")
    workers: list[tuple[BaseProcess, Connection]] = []  # with the end of the pipe that the results come from
    for k in range(processes):
        reader, writer = context.Pipe(duplex=False)
        inherited = (reader, *(other for _, other in workers))
        arguments = (writer, inherited, function, items[k::processes])
        process = context.Process(target=_work, args=arguments, daemon=True)
        with warnings.catch_warnings():
            # Python >= 3.12 warns of threads in the parent; the children run plain NumPy code only.
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            process.start()
        writer.close()
        workers.append((process, reader))
    return _collect(workers, len(items))


def _collect(workers: Sequence[tuple[BaseProcess, Connection]], items: int) -> Generator[Any, None, None]:
    try:
        for i in range(items):
            process, reader = workers[i % len(workers)]
            try:
                result, error = reader.recv()
            except EOFError:
                process.join()
                message = f"worker process {process.pid} died with exit code {process.exitcode}"
                raise RuntimeError(message) from None
            if error is not None:
                raise error
            yield result
    finally:
        for process, _ in workers:
            process.terminate()
        for process, reader in workers:
            process.join()
            reader.close()


def _work(
    writer: Connection, inherited: tuple[Connection, ...], function: Callable[[Any], Any], items: Sequence[Any]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for reader in inherited:  # as long as a read end is open, a dead parent would go unnoticed
        reader.close()
    try:
        for item in items:
            try:
                writer.send((function(item), None))
            except BrokenPipeError:
                raise
            except Exception as error:
                error.add_note(f"in a worker process:\n{traceback.format_exc()}")
                writer.send((None, error))
                return
    except BrokenPipeError:
        return
