"""With what a training was started: command line, versions, commit."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import lightning
import numpy
import torch
import yaml

from hitpool import __version__
from hitpool.files import write_text


def note_start(run: Path, command: Sequence[str]) -> None:
    """Adds an entry to `starts.yaml` of a run, one for each time that it was started or continued.

    Args:
        run: Run directory.
        command: The command line.

    Raises:
        WriteError: If it cannot be written.
    """
    path = run / "starts.yaml"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_text(path, before + yaml.safe_dump([_start(command)], sort_keys=False, allow_unicode=True, width=1000))


def _start(command: Sequence[str]) -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(command),
        "folder": str(Path.cwd()),
        "commit": _commit(),
        "versions": {
            "hitpool": __version__,
            "torch": str(torch.__version__),
            "lightning": lightning.__version__,
            "numpy": numpy.__version__,
            "python": sys.version.split()[0],
            "CUDA": torch.version.cuda,
        },
        "GPUs": gpus,
    }


def _commit() -> str | None:
    """Commit of the working folder, with `-dirty` if files were changed since; None if it is in no git repository."""
    git = shutil.which("git")
    if git is None:
        return None
    describe = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(describe, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
