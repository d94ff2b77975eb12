"""Folders that are there while something is written into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hitpool.files.failure import failures_named


@contextmanager
def folder(path: Path) -> Iterator[None]:
    """Creates a folder and those above it; what it has created is removed again if nothing is in it at the end.

    Args:
        path: The folder; it may exist.

    Raises:
        WriteError: If it cannot be created.
    """
    created = [place for place in (path, *path.parents) if not place.exists()]
    try:
        with failures_named(path):
            path.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for place in created:
            with suppress(OSError):  # there is something in it
                place.rmdir()
