"""Few simulated events, and the command line as a subprocess."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hitpool.simulation import simulate

SIZES = {"train": 96, "val": 24, "test": 24}
TINY = ["--data.batch_size=8", *(f"--simulate.{part}={size}" for part, size in SIZES.items())]


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the data sets `train`, `val` and `test`."""
    folder = tmp_path_factory.mktemp("events")
    for split, (part, size) in enumerate(SIZES.items()):
        simulate(folder / part, size, split=split, processes=1)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, events: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the events in `data`, where `hitpool fit` looks for them."""
    (tmp_path / "data").symlink_to(events)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hitpool() -> Callable[..., subprocess.Popen]:
    """Starts `hitpool <arguments>` with one thread."""

    def start(*arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "hitpool.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )

    return start


@pytest.fixture
def tiny() -> list[str]:
    """Options for a training on the few events."""
    return list(TINY)
