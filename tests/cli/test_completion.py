"""The completion of a shell knows commands, options, and what lies inside the model."""

import re
import subprocess
from pathlib import Path

import pytest

from hitpool import cli

pytest.importorskip("shtab")

COMPLETE = """\
source hitpool.bash
for line in "$@"; do
  COMP_WORDS=($line) COMP_CWORD=$(($(wc -w <<< "$line") - 1))
  _shtab_hitpool
  echo "${COMPREPLY[*]}"
done
"""


def completed(*lines: str) -> list[list[str]]:
    """What bash offers for the last word of each line."""
    done = subprocess.run(["bash", "-c", COMPLETE, "bash", *lines], capture_output=True, text=True, check=True)
    return [offered.split() for offered in done.stdout.splitlines()]


def test_bash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["completion", "bash"])
    Path("hitpool.bash").write_text(capsys.readouterr().out)
    expected = {
        "hitpool f": ["fit"],
        "hitpool data i": ["inspect"],
        "hitpool config s": ["show"],
        "hitpool fit --data.batch": ["--data.batch_size"],
        "hitpool predict --check": ["--checkpoint"],
        "hitpool fit --model.model.encoder.num_l": ["--model.model.encoder.num_layers"],
        "hitpool fit --model.model.tasks.2.loss_w": ["--model.model.tasks.2.loss_weight"],
        "hitpool evaluate --ref": ["--reference", "--refit"],
        "hitpool export --out": ["--output"],
        "hitpool simulate --wor": ["--workers"],
        "hitpool data convert --map": ["--mapping"],
        "hitpool export --checkpoint hit": ["hitpool.bash"],
    }
    assert dict(zip(expected, completed(*expected), strict=True)) == expected


def test_other_shells(capsys: pytest.CaptureFixture) -> None:
    for shell in ("zsh", "tcsh"):
        cli.main(["completion", shell])
        assert "fit" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["completion", "fish"])
    assert re.search("shell: expected one of (bash, zsh, tcsh, got fish|its choices)", capsys.readouterr().err)
