"""Ctrl-C that is not lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_kept() -> Iterator[Callable[[], None]]:
    """Remembers Ctrl-C, because Python ignores a KeyboardInterrupt in a callback of a weak reference or a `__del__`.

    Yields:
        A function that raises KeyboardInterrupt if one was ignored.
    """
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.default_int_handler(number, frame)

    def check() -> None:
        if received:
            raise KeyboardInterrupt

    kept = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if kept:
        signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        if kept:
            signal.signal(signal.SIGINT, signal.default_int_handler)
