import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

import hitpool
from hitpool.training.starts import note_start

COMMAND = ["hitpool", "fit", "--name", "two words"]


def starts(run: Path) -> list[dict]:
    return yaml.safe_load((run / "starts.yaml").read_text())


def test_each_start_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    note_start(tmp_path, COMMAND)
    note_start(tmp_path, [*COMMAND, "--ckpt_path", "last"])
    first, second = starts(tmp_path)
    assert first["command"] == "hitpool fit --name 'two words'"
    assert second["command"] == "hitpool fit --name 'two words' --ckpt_path last"
    assert first["folder"] == str(tmp_path)
    assert first["commit"] is None
    assert first["versions"]["hitpool"] == hitpool.__version__
    assert first["versions"]["torch"] == torch.__version__
    assert set(first["versions"]) == {"hitpool", "torch", "lightning", "numpy", "python", "CUDA"}


def test_the_commit_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git here")
    monkeypatch.chdir(tmp_path)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
        return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    git("add", "mine.yaml")
    git("commit", "-m", "First")
    commit = git("rev-parse", "HEAD")
    run = tmp_path / "run"
    note_start(run, COMMAND)
    (tmp_path / "mine.yaml").write_text("name: other\n")
    note_start(run, COMMAND)
    assert [start["commit"] for start in starts(run)] == [commit, f"{commit}-dirty"]
