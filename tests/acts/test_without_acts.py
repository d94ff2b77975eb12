import importlib.util
import sys
from pathlib import Path

import pytest

from hitpool.acts import acts
from hitpool.acts.columns import HIT_FEATURES, TRACK_FEATURES
from hitpool.cli import main


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: None if name == "acts" else find(name, *args))


def test_a_missing_acts_is_said_before_anything_is_written(tmp_path: Path, not_installed: None) -> None:
    with pytest.raises(ModuleNotFoundError, match=r'pip install "hitpool\[acts\]"'):
        acts(tmp_path / "set", events=1)
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_it_too(tmp_path: Path, not_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    with pytest.raises(SystemExit, match=r'^hitpool acts: ACTS is not installed: pip install "hitpool\[acts\]"$'):
        main(["acts", "--output", str(tmp_path / "set"), "--events", "1"])


def test_a_folder_called_acts_is_not_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acts").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "acts", raising=False)
    with pytest.raises(ModuleNotFoundError, match="ACTS is not installed"):
        acts(tmp_path / "set", events=1)


def test_every_column_has_a_name_of_its_own() -> None:
    assert len(set(HIT_FEATURES)) == len(HIT_FEATURES)
    assert len(set(TRACK_FEATURES)) == len(TRACK_FEATURES)
