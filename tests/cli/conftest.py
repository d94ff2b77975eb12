"""Few simulated events, and the command line as a subprocess."""

import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hitpool.simulation import simulate

SIZES = {"train": 96, "val": 24, "test": 24}
TINY = ["--data.batch_size=8", *(f"--simulate.{part}={size}" for part, size in SIZES.items())]


@pytest.fixture(autouse=True)
def restore_process() -> Iterator[None]:
    """The command line changes the handling of signals, messages and threads of its process."""
    handler, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        yield
    signal.signal(signal.SIGTERM, handler)
    torch.set_num_threads(threads)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


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
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )

    return start


@pytest.fixture
def tiny() -> list[str]:
    """Options for a training on the few events."""
    return list(TINY)
