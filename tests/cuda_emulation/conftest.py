"""The CUDA kernels with checked accesses of memory, compiled once for all workers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .kernels import Kernels

FOLDER = Path(__file__).parent


def build(folder: Path, source: Path = FOLDER) -> None:
    """libchecked.so and libmistakes.so in a folder."""
    cmake = shutil.which("cmake")
    if cmake is None or shutil.which("c++") is None:
        pytest.skip(f"no {'cmake' if cmake is None else 'c++'} here")
    configure = [cmake, "-S", str(source), "-B", str(folder), f"-DPython_EXECUTABLE={sys.executable}"]
    for command in (configure, [cmake, "--build", str(folder), "--parallel", "2"]):
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
