"""Damaged files give an error that names them, or the right data."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("HITPOOL_FUZZ", "40"))


@pytest.mark.parametrize("kind", ["events", "packed", "unpacked", "checkpoint"])
def test_damaged_files_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("corrupting.py")
    result = subprocess.run(
        [sys.executable, str(script), kind, str(tmp_path), str(COUNT), "1"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert f"{COUNT} damaged files" in result.stdout
    assert re.search(r"'error': \d", result.stdout)
    assert re.search(r"'right data': \d", result.stdout)
    assert not re.search(r": (bare|unnamed|crash|hang|other data)", result.stdout), result.stdout
    print(result.stdout)
