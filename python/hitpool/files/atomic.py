"""Files and folders that appear under their name only when they are complete."""

from __future__ import annotations

import glob
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hitpool.files.failure import WriteError, failures_named, write_error
from hitpool.files.folders import folder
from hitpool.files.lock import alone, try_lock


class PartialFile(io.FileIO):
    """A new binary file that is written under a temporary name.

    After a failure it takes what comes without writing it, and `replacing` raises it at the end: HDF5 writes when it
    closes data sets and files, too, and cannot bear that this fails.

    Args:
        path: Temporary name.
        target: Name in error messages.

    Attributes:
        expected: Size that the file will have (bytes), if that is known; for the message of a full disk.
    """

    def __init__(self, path: Path, target: Path) -> None:
        super().__init__(path, "x+")
        self.path = path
        self.target = target
        self.expected: int | None = None
        self._written = 0
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes all of `data`, unless a write has failed."""
        size = memoryview(data).nbytes
        rest = memoryview(data).cast("B") if size else b""
        try:
            while rest and self._failure is None:
                number = super().write(rest)
                self._written += number
                rest = rest[number:]
        except OSError as error:
            self._failure = error
        return size

    def check(self) -> None:
        """Checks that everything could be written so far.

        Raises:
            WriteError: If not; names the target.
        """
        if self._failure is not None:
            raise write_error(self.target, self._failure, self._written, self.expected)


@contextmanager
def replacing(path: Path | str, expected: int | None = None) -> Iterator[PartialFile]:
    """A file that replaces `path` when everything has been written and is on the disk.

    It is written under a name of its own beside `path`; after an error it is removed, and `path` is as it was. What
    a process that was killed has left is removed by the next one that writes the same file.

    Args:
        path: File to write; its folder is created.
        expected: Size that it will have (bytes), if that is known.

    Yields:
        The file, for binary data.

    Raises:
        WriteError: If it cannot be written; names `path`.
    """
    path = Path(path)
    with folder(path.parent):
        with failures_named(path):
            _remove_leftovers(path)
            file = None
            while file is None:
                file = _new_file(path)
        file.expected = expected
        try:
            with file:
                yield file
                file.check()
                with failures_named(path):
                    os.fsync(file.fileno())
                    file.path.replace(path)
        finally:
            file.path.unlink(missing_ok=True)
            file.check()


def write_bytes(path: Path | str, content: bytes | memoryview) -> None:
    """Writes a file, see `replacing`."""
    with replacing(path, len(content)) as file:
        file.write(content)


def write_text(path: Path | str, text: str) -> None:
    """Writes a text file in UTF-8, see `replacing`."""
    write_bytes(path, text.encode())


def check_writable(path: Path | str) -> None:
    """Checks that files can be written into a folder, before the work that leads to them.

    Args:
        path: The folder; it need not exist.

    Raises:
        WriteError: If they cannot.
    """
    with folder(Path(path)), failures_named(path):
        tempfile.TemporaryFile(dir=path).close()


@contextmanager
def complete_or_nothing(output: Path) -> Iterator[Path]:
    """A new folder that appears under its name only when everything in it has been written.

    Args:
        output: The folder, which must not exist.

    Yields:
        A temporary folder next to it, renamed at the end and removed after an error.

    Raises:
        FileExistsError: If `output` exists, before and after writing.
        InUseError: If another process writes it.
        WriteError: If it cannot be written.
    """
    output = Path(output)
    with alone(output):
        _refuse_existing(output)
        for leftover in output.parent.glob(_pattern(output)):
            shutil.rmtree(leftover)
        partial = _partial(output)
        try:
            with failures_named(output):
                partial.mkdir()
            yield partial
            _refuse_existing(output)
            partial.rename(output)
        except WriteError as error:
            error.filename = error.filename.replace(str(partial), str(output))
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _refuse_existing(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise FileExistsError(f"output folder {output} exists already; remove it or choose another name")


def _new_file(path: Path) -> PartialFile | None:
    """A file with a temporary name, locked; None if another process took it for a leftover."""
    file = PartialFile(_partial(path), path)
    if try_lock(file) is not False and file.path.exists():
        return file
    file.close()
    return None


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(_pattern(path)):
        with suppress(FileNotFoundError, PermissionError), leftover.open("r+b") as file:
            if try_lock(file):  # whoever wrote it is gone
                leftover.unlink()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _pattern(path: Path) -> str:
    return f".{glob.escape(path.name)}.????????.part"
