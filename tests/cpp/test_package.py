"""The package for CMake."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

Configure = Callable[..., subprocess.CompletedProcess]


def test_another_torch_is_named(configure: Configure, prefix: str, tmp_path: Path) -> None:
    header = tmp_path / "torch/include/torch/headeronly/version.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define TORCH_VERSION_MAJOR 1\n#define TORCH_VERSION_MINOR 2\n")
    done = configure(tmp_path / "build", f"{tmp_path / 'torch'};{prefix}")
    assert done.returncode != 0
    minor = ".".join(torch.__version__.split(".")[:2])
    said = " ".join(done.stderr.split())
    assert f"hitpool was built for torch {minor}, but {tmp_path / 'torch/include'} is of torch 1.2" in said


def test_the_prefix_is_known_without_torch(prefix: str) -> None:
    code = "import sys, hitpool_command; hitpool_command.main(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "--cmake-prefix"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [prefix, "False"]
