"""Work in a process of its own: neither the work before it nor the memory that this left behind has any influence.

Both matter. A peak of memory is that of a process, and where much was allocated and freed, glibc's malloc takes longer
over the many small allocations of autograd, which are most of a call at the smallest shapes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator

PATIENCE = 2.0  # seconds in which a process that is no longer needed must end


def values_of(
    name: str, function: Callable, *arguments: object, on_step: Callable[[str], object] = lambda text: None
) -> Iterator:
    """Runs a generator function in a new process.

    Args:
        name: What is measured, for the error.
        function: Takes the arguments and, by name, `on_step`; all it takes and yields is sent from process to process.
        arguments: Its arguments.
        on_step: Called here with what the function tells its `on_step`.

    Yields:
        What the function yields, as it does so.

    Raises:
        RuntimeError: the process ended early, after an error that it printed, or for want of memory.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler of the processes started from here says nothing
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hitpool"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        while (message := receiver.recv()) is not None:
            kind, value = message
            if kind == "step":
                on_step(value)
            else:
                yield value
        process.join()
    except EOFError:
        process.join()
        raise RuntimeError(f"the process that measures {name} ended with code {process.exitcode}") from None
    finally:  # after Ctrl-C too
        process.terminate()
        process.join(PATIENCE)
        process.kill()
        process.join()


def value_of(name: str, function: Callable, *arguments: object):
    """Calls a function in a new process.

    Args:
        name: What is measured, for the error.
        function: All it takes and returns is sent from process to process.
        arguments: Its arguments.

    Returns:
        What the function returns.

    Raises:
        RuntimeError: the process ended early, after an error that it printed, or for want of memory.
    """
    (value,) = values_of(name, _once, function, *arguments)
    return value


def _once(function: Callable, *arguments: object, on_step: Callable[[str], object]) -> Iterator:
    yield function(*arguments)


def _send(sender, function: Callable, arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process ends it ...
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # ... and lets it put things away
    for value in function(*arguments, on_step=lambda text: sender.send(("step", text))):
        sender.send(("value", value))
    sender.send(None)
