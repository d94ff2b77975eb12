"""Start of the command `hitpool`, apart from the package hitpool, because that imports torch, which takes a second."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Runs the command line. Ctrl-C ends the process at once while it is imported, and again when it has ended."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # of a job in the background: ignored
        _main()
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        _main()
    finally:
        signal.signal(signal.SIGINT, _leave)


def _main() -> None:
    from hitpool.cli import main

    main()


def _leave(signum: int, frame: FrameType | None) -> None:
    """Ends where an exception would be lost, or end up in C++, and nothing has been begun."""
    os.write(sys.__stderr__.fileno(), b"hitpool: interrupted\n")
    os._exit(128 + signum)
