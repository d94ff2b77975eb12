"""How a command says what went wrong: one line, or the traceback if that is asked for."""

from __future__ import annotations

import errno
import linecache
import re
import traceback
from argparse import ArgumentError

from hitpool.files.failure import WriteError, write_error
from hitpool.parser_message import one_line

WRONG_USAGE, FAILED = 2, 1  # exit status

_EXPECTED = (OSError, ValueError, ImportError, FloatingPointError, MemoryError)
_CANNOT_WRITE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_SPEAKING = ("hitpool", "lightning", "torch.utils.data")  # packages whose `raise` is meant for the user
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
_LOST = ("Connection closed by peer", "Connection reset by peer")
_CXX_STACK = re.compile(r"\n(Exception raised from|C\+\+ CapturedTraceback|frame #0)")
_FROM_ANOTHER_PROCESS = re.compile(r"^[\w.]*(?:Error|Exception): ", re.MULTILINE)


def explain(error: Exception) -> tuple[str, int]:
    """Says in one line why a command fails.

    Args:
        error: What was raised.

    Returns:
        The line, and the exit status: 2 for wrong options, 1 for everything else.

    Example:
        >>> explain(FileNotFoundError(2, "No such file or directory", "events"))
        ('events: no such file or directory', 1)
    """
    text = one_line(_message(error))
    if isinstance(error, ArgumentError):
        return text, WRONG_USAGE
    if any(words in text for words in _OUT_OF_MEMORY):
        return f"not enough memory, a smaller data.batch_size needs less: {text}", FAILED
    if any(words in text for words in _LOST):
        return "another process of this training ended, and says why itself", FAILED
    if isinstance(error, _EXPECTED) or _meant_for_the_user(error):
        return text, FAILED
    hint = "--debug shows the traceback; if that ends in hitpool, please report it"
    return f"unexpected {type(error).__name__}: {text} ({hint})", FAILED


def _message(error: Exception) -> str:
    if isinstance(error, WriteError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE and error.filename is not None:
        return str(write_error(error.filename, error))
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        names = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"{names}: {error.strerror[0].lower()}{error.strerror[1:]}"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Traceback (most recent call last)" in text:  # of a process that reads or trains
        text = _FROM_ANOTHER_PROCESS.split(text)[-1]
    return _CXX_STACK.split(text)[0].strip() or type(error).__name__


def _meant_for_the_user(error: Exception) -> bool:
    """Whether a `raise` of hitpool, or of what it trains with, says what is wrong; all else is a fault in a program."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return False
    frame, line = frames[-1]
    statement = linecache.getline(frame.f_code.co_filename, line).lstrip()
    package = frame.f_globals.get("__name__", "")
    return statement.startswith("raise ") and any(f"{package}.".startswith(f"{name}.") for name in _SPEAKING)
