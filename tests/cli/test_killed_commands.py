"""A command that was killed at any step of its work on files ends, when it is repeated, as if nothing had been."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conversion.ntuples import HIT_COLUMNS, TRACK_COLUMNS, branches, make_events, write_root

COUNT = int(os.environ.get("HITPOOL_FUZZ", "2"))


@pytest.mark.parametrize("command", ["simulate", "convert", "unpack", "fit", "predict", "export"])
def test_a_killed_command_is_repeated_with_the_same_result(command: str, events: Path, tmp_path: Path) -> None:
    if command == "convert":
        pytest.importorskip("uproot")
        for seed, name in enumerate(("a.root", "b.root")):
            write_root(tmp_path / name, branches(make_events(40, seed), HIT_COLUMNS, TRACK_COLUMNS))
    script = Path(__file__).with_name("killing.py")
    result = subprocess.run(
        [sys.executable, str(script), command, str(events), str(tmp_path), str(COUNT), "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert f"{COUNT} repeats end like the undisturbed one" in result.stdout
    print(result.stdout)
