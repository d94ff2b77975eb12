"""Why a file cannot be written, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of this user is used up",
    errno.EFBIG: "it would be larger than this process may write (ulimit -f)",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this user has no permission",
    errno.EPERM: "this user has no permission",
}


class WriteError(OSError):
    """A file cannot be written; says which and why."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


@contextmanager
def failures_named(path: Path | str) -> Iterator[None]:
    """Names the file in the errors of what is written to it inside.

    Args:
        path: The file or folder.

    Raises:
        WriteError: For every error of the operating system but those that are one already, and those that name a file
            in the place of a folder.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, (WriteError, FileExistsError, NotADirectoryError)) or error.errno is None:
            raise
        raise write_error(path, error) from error


def write_error(path: Path | str, error: OSError, written: int = 0, expected: int | None = None) -> WriteError:
    """Explains why a file cannot be written and how much room is missing.

    Args:
        path: The file.
        error: What the operating system said.
        written: Size that the file has reached (bytes).
        expected: Size that it would have had (bytes), if that is known.
    """
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and expected is not None and expected > written:
        reason += f" at {_size(written)} of {_size(expected)}; {_size(expected - written)} are missing"
    return WriteError(error.errno, reason, os.fspath(path))


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e5 else f"{number:,} bytes"
