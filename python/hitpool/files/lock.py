"""Locks that say which process holds them and end with it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import IOBase
from multiprocessing.util import register_after_fork
from pathlib import Path

from hitpool.files.failure import failures_named
from hitpool.files.folders import folder

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # of file systems that are mounted without them


class InUseError(OSError):
    """Another process works on the same."""


@contextmanager
def alone(path: Path, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keeps other processes from working on `path` inside of this, by a lock file beside it.

    The lock ends with the process, however that ends. File systems without locks are used without them.

    Args:
        path: File or folder; it need not exist.
        wait: Called with a sentence on who is being waited for; None does not wait.

    Raises:
        InUseError: If another process works on it and `wait` is None; names the process, its host and since when.
        WriteError: If the lock file cannot be written.
    """
    path = Path(path)
    lock = _lock_of(path)
    with folder(lock.parent):
        with failures_named(path):
            file = None
            while file is None:
                file = _locked(lock, path, wait)
        try:
            now = datetime.now().astimezone().isoformat(" ", "seconds")
            with failures_named(path):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}".encode())
            yield
        finally:
            lock.unlink(missing_ok=True)
            file.close()


def remove_left_lock(path: Path) -> None:
    """Removes the lock file of a process that was killed after it had finished `path`.

    Args:
        path: File or folder. Nothing happens if another process works on it.
    """
    lock = _lock_of(path)
    if os.access(lock, os.W_OK):
        with suppress(FileNotFoundError, PermissionError), lock.open("r+b") as file:
            if try_lock(file):
                lock.unlink()


def try_lock(file: IOBase) -> bool | None:
    """Locks an open file for this process.

    Args:
        file: The file, opened for writing. Processes that are forked do not keep it open.

    Returns:
        True if it is locked, False if another process has locked it, None if the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    register_after_fork(file, type(file).close)
    return True


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _locked(lock: Path, path: Path, wait: Callable[[str], None] | None) -> IOBase | None:
    """The lock file, locked; None if its holder has removed it meanwhile."""
    lock.parent.mkdir(parents=True, exist_ok=True)  # the holder may have removed this, too
    file = lock.open("a+b", buffering=0)
    try:
        if try_lock(file) is False:
            file.seek(0)
            holder = f"{path} is in use by {file.read().decode() or 'another process'}"
            if wait is None:
                raise InUseError(f"{holder}: wait until that ends, or stop it")
            wait(f"{holder}: waiting until that ends")
            fcntl.flock(file, fcntl.LOCK_EX)
            register_after_fork(file, type(file).close)
        if lock.exists() and os.path.samestat(lock.stat(), os.fstat(file.fileno())):
            return file
    except FileNotFoundError:
        pass
    except BaseException:
        file.close()
        raise
    file.close()
    return None
