"""What a training prints, kept in its run directory."""

import io
import re
import sys
import threading
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from hitpool.files import failures_named

REDRAWN = 20  # lowest lines of a terminal, which progress bars may write again
_PARTS = re.compile(r"\x1b\[(?P<number>[\d;?]*)(?P<command>[A-Za-z])|(?P<end>[\r\n])|(?P<text>[^\x1b\r\n]+)")


class Log:
    r"""Copies the standard output and error to a file, as they stand on the screen in the end: bars once, no colours.

    What is printed before the file is named waits for it.

    Example:
        >>> log = Log()
        >>> log.add("10 % of \x1b[1mepoch 1\x1b[0m\r100 % of epoch 1\n")
        >>> log.waiting
        ['100 % of epoch 1', '']
    """

    def __init__(self) -> None:
        self.waiting = [""]
        self._row = self._column = 0
        self._file: io.FileIO | None = None
        self._ended = False
        self._kept = REDRAWN if sys.stdout.isatty() or sys.stderr.isatty() else 1
        self._lock = threading.RLock()  # a bar is drawn by a thread, and a signal can come at any time
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Begins to copy."""
        self._open.enter_context(redirect_stdout(_Copied(sys.stdout, self)))
        self._open.enter_context(redirect_stderr(_Copied(sys.stderr, self)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Writes the rest and closes the file; what others, who still hold the streams, print later is left out."""
        with self._open, suppress(*() if error is None else (OSError,)):
            self._write(len(self.waiting))
        self._ended = True

    def begin(self, path: Path) -> None:
        """Names the file, which is continued if it exists.

        Args:
            path: The file.

        Raises:
            WriteError: If it cannot be written, now or later.
        """
        with self._lock, failures_named(path):
            self._file = self._open.enter_context(path.open("ab", buffering=0))
            self._write(len(self.waiting) - self._kept)

    def add(self, text: str) -> None:
        """Adds what is printed.

        Args:
            text: Text with control sequences of a terminal.
        """
        with self._lock:
            if self._ended:
                return
            for part in _PARTS.finditer(text):
                self._add(part)
            self._write(len(self.waiting) - self._kept)

    def note(self, error: str) -> None:
        """Adds the line of an error, which is printed later; it counts more than one of the file.

        Args:
            error: The line.
        """
        with suppress(OSError):
            self.add(f"{error}\n")

    def _add(self, part: re.Match[str]) -> None:
        if part["end"] == "\n":
            self._row += 1
            if self._row == len(self.waiting):
                self.waiting.append("")
        if part["end"]:
            self._column = 0
        elif part["command"] == "A":  # up
            self._row = max(0, self._row - int(part["number"] or 1))
        elif part["command"] == "K":  # clear the line
            self.waiting[self._row] = ""
        elif part["text"]:
            line, end = self.waiting[self._row], self._column + len(part["text"])
            self.waiting[self._row] = line[: self._column].ljust(self._column) + part["text"] + line[end:]
            self._column = end

    def _write(self, number: int) -> None:
        """Writes the first lines; the last one only if there is something in it."""
        if self._file is None or number < 1:
            return
        lines, self.waiting = self.waiting[:number], self.waiting[number:]
        self._row -= len(lines)
        if not self.waiting and not lines[-1]:
            lines.pop()
        file, self._file = self._file, None  # until it is written: an error is raised once
        with failures_named(file.name):
            file.write("".join(f"{line.rstrip()}\n" for line in lines).encode())
        self._file = file


class _Copied:
    """A stream whose text is added to a log."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream = stream
        self._log = log

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        self._log.add(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
