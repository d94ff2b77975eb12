"""The kernels of weighted_pool with checked accesses of memory, compiled once for all workers."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .kernels import Kernels

FOLDER = Path(__file__).parent


def build(folder: Path, *options: str, source: Path = FOLDER) -> None:
    """libchecked.so and libmistakes.so in a folder."""
    configure = ["cmake", "-S", str(source), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", *options]
    for command in (configure, ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def libraries(once: Callable[..., Path]) -> Path:
    if given := os.environ.get("HITPOOL_CHECKED_KERNELS"):
        return Path(given)
    return once("checked-kernels", build)


@pytest.fixture
def kernels(libraries: Path) -> Kernels:
    return Kernels(libraries / "libchecked.so")
