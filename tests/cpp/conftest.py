"""A C++ program that uses hitpool as installed, built once, and models for it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hitpool
from hitpool.cli import main

HERE = Path(__file__).parent


def tool(name: str) -> str | None:
    """Path of a program, of the virtual environment first."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which(name, path=folders)


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


@pytest.fixture(scope="session")
def prefix() -> str:
    """What `hitpool --cmake-prefix` says."""
    if not Path(hitpool.library_path()).with_name("libhitpool_model.so").is_file():
        pytest.skip("no libhitpool_model.so: only the ops are built here")
    shown = run(sys.executable, "-m", "hitpool", "--cmake-prefix")
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.strip()


@pytest.fixture(scope="session")
def configure(prefix: str) -> Callable[..., subprocess.CompletedProcess]:
    """Runs CMake for the program in this folder."""
    cmake, compiler = tool("cmake"), tool("g++")
    if cmake is None or compiler is None:
        pytest.skip(f"no {'cmake' if cmake is None else 'g++'} here")

    def call(build: Path, places: str = prefix) -> subprocess.CompletedProcess:
        ninja = tool("ninja")
        generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
        return run(cmake, "-S", HERE, "-B", build, f"-DCMAKE_PREFIX_PATH={places}", *generator)

    return call


@pytest.fixture(scope="session")
def programs(once, configure) -> Path:
    """Folder of the compiled programs."""

    def build(folder: Path) -> None:
        page = HERE.parents[1] / "docs/cpp.md"
        text = page.read_text() if page.is_file() else ""  # it is not in the source distribution
        (folder / "snippets").mkdir(exist_ok=True)
        for number, snippet in enumerate(
            re.findall(r"<!-- test: program -->\n```cpp\n([\s\S]*?)^```", text, re.MULTILINE)
        ):
            (folder / f"snippets/snippet{number}.cpp").write_text(snippet)
        done = configure(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        done = run(tool("cmake"), "--build", folder)
        assert done.returncode == 0, done.stdout + done.stderr

    return once("cpp", build)


@pytest.fixture(scope="session")
def models(once) -> Path:
    """Folder of small models."""

    def make(folder: Path) -> None:
        done = run(sys.executable, HERE / "make_models.py", folder)
        assert done.returncode == 0, done.stderr

    return once("cpp-models", make)


@pytest.fixture(scope="session")
def exported(once: Callable[..., Path], checkpoint: Path) -> Path:
    """The default model with random weights as TorchScript, with the events of its check."""

    def make(folder: Path) -> None:
        main(["export", "--checkpoint", str(checkpoint), "--output", str(folder / "model.pt")])

    return once("cpp-exported", make) / "model.pt"
