"""Start of the command `hitpool`, apart from the package hitpool, because that imports torch, which takes a second."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Runs the command line. Ctrl-C ends the process at once while it is imported, and again when it has ended."""
    if not leave_at_interrupt():
        _main()
        return
    try:
        _main()
    finally:
        signal.signal(signal.SIGINT, _leave)


def leave_at_interrupt() -> bool:
    """Lets Ctrl-C end the process at once, with a line and status 130.

    Returns:
        Whether it does; in a job in the background Ctrl-C stays ignored.
    """
    if signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, _leave):
        return False
    signal.signal(signal.SIGINT, _leave)
    return True


def _main() -> None:
    from hitpool.cli import main

    main()


def _leave(signum: int, frame: FrameType | None) -> None:
    """Ends where an exception would be lost, or end up in C++, and nothing has been begun."""
    assert sys.__stderr__ is not None
    os.write(sys.__stderr__.fileno(), b"hitpool: interrupted\n")
    os._exit(128 + signum)
