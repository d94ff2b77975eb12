import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from hitpool.files import WriteError
from hitpool.training.log import Log


class Terminal:
    """Takes what is printed, and says that it is a terminal."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_both_streams_are_kept_and_still_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "log.txt"
    with Log() as log:
        print("before the file is named")
        log.begin(path)
        print("\x1b[1mepoch 1\x1b[0m   ")
        print("a warning", file=sys.stderr)
        assert path.read_text() == "before the file is named\nepoch 1\na warning\n"
        print("no end of line", end="")
        log.note("error")
    assert path.read_text().splitlines()[3:] == ["no end of lineerror"]
    assert capsys.readouterr() == ("before the file is named\n\x1b[1mepoch 1\x1b[0m   \nno end of line", "a warning\n")


def test_a_second_start_appends(tmp_path: Path) -> None:
    for line in ("first", "second"):
        with Log() as log:
            log.begin(tmp_path / "log.txt")
            print(line)
    assert (tmp_path / "log.txt").read_text() == "first\nsecond\n"


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Log():
        print("an error before the run directory")
    assert not list(tmp_path.iterdir())


def test_bars_are_kept_once_in_their_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    with Log() as log:
        log.begin(tmp_path / "log.txt")
        console = Console(width=60, force_terminal=True, legacy_windows=False)
        with Progress(console=console, auto_refresh=False) as progress:
            one, two = (progress.add_task(name, total=4) for name in ("training", "validation"))
            for _ in range(4):
                progress.advance(one)
                progress.advance(two)
                progress.refresh()
                progress.print("in between")
        print("after the bars")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[:4] == ["in between"] * 4
    assert [line.split()[0] for line in lines[4:6]] == ["training", "validation"]
    assert all("100%" in line and "\x1b" not in line for line in lines[4:6])
    assert lines[6:] == ["after the bars"]


def test_a_stream_that_is_held_after_the_end_still_prints(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with Log() as log:
        log.begin(tmp_path / "log.txt")
        held = sys.stdout
    held.write("at the exit of the process\n")
    assert capsys.readouterr().out == "at the exit of the process\n"
    assert (tmp_path / "log.txt").read_text() == ""


def test_what_cannot_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with Log() as log:
        log.begin(tmp_path / "log.txt")
        with pytest.raises(WriteError, match=r"log\.txt cannot be written: the disk is full"):
            print("lost")
        print("goes on")
    assert "goes on" in capsys.readouterr().out
