"""What the measurements ran on."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

import hitpool
from hitpool.cores import available_cores


def describe(device: str = "cpu") -> dict[str, str]:
    """Date, processor, instruction set, cores and versions.

    Args:
        device: `cpu` or `cuda`.

    Returns:
        Name -> value, in the order to print.
    """
    facts = {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": str(available_cores()),
    }
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        facts |= {"gpu": f"{gpu.name} (sm_{gpu.major}{gpu.minor})", "cuda": str(torch.version.cuda)}
    return facts | {
        "hitpool": hitpool.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "compiler": _compiler(),
    }


def line(facts: dict[str, str]) -> str:
    """One line of `describe`.

    Args:
        facts: What `describe` returned.

    Returns:
        `2026-01-31, processor ..., instructions AVX2, ...`.
    """
    return ", ".join(value if name == "date" else f"{name} {value}" for name, value in facts.items())


def available_bytes(device: str = "cpu") -> int:
    """Memory that can be taken without swapping.

    Args:
        device: `cpu` or `cuda`.

    Returns:
        Bytes.
    """
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    entries = dict(entry.split(":") for entry in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    return 1024 * int(entries["MemAvailable"].split()[0])


def system_compiler() -> str | None:
    """The C++ compiler of the system: `$CXX`, or `c++`.

    Returns:
        Its path, or None if there is none.
    """
    return shutil.which(os.environ.get("CXX") or "c++")


def _processor() -> str:
    for entry in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if entry.startswith("model name"):
            return entry.split(":", 1)[1].strip()
    return platform.machine()


def _compiler() -> str:
    path = system_compiler()
    if path is None:
        return "none"
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
