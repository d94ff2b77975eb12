"""Ctrl-C ends a command with status 130 and one line, whatever it is doing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hitpool import cli

INTERRUPTED_AT_AN_IMPORT = """\
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupt())
from hitpool_command import main
main()
"""
OWN = """\
from lightning.pytorch import Callback

class Interrupt(Callback):
    def __init__(self, hook: str):
        setattr(self, hook, self.interrupt)

    def interrupt(self, *args):
        raise KeyboardInterrupt
"""


def run(handler: signal.Handlers, *arguments: str) -> tuple[int, str, str]:
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_AN_IMPORT, *arguments],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("module", ["hitpool.cli", "torch", "torch.nn", "jsonargparse", "lightning"])
def test_while_modules_are_imported(module: str) -> None:
    assert run(signal.SIG_DFL, module, "fit", "--help_all") == (130, "", "hitpool: interrupted\n")


@pytest.mark.parametrize("module", ["hitpool.cli", "torch", "hitpool.ops", "lightning"])
def test_while_modules_are_imported_by_python_m(module: str, tmp_path: Path) -> None:
    start = INTERRUPTED_AT_AN_IMPORT.partition("from hitpool_command")[0]
    (tmp_path / "sitecustomize.py").write_text(start.replace("sys.argv.pop(1)", repr(module)))
    result = subprocess.run(
        [sys.executable, "-m", "hitpool", "fit", "--help_all"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "hitpool: interrupted\n")


def test_a_job_in_the_background_does_not_listen() -> None:
    status, output, error = run(signal.SIG_IGN, "hitpool.cli", "--version")
    assert (status, error) == (0, "")
    assert output.startswith("hitpool ")


def test_at_work(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupt(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("hitpool.files.production.ordered_map", interrupt)
    with pytest.raises(SystemExit) as stop:
        cli.main(["simulate", "--output=x/y", "--events=3"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "hitpool simulate: interrupted\n"
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("hook", "line", "kept"),
    [
        ("on_train_start", "stopped in epoch 1, before the first checkpoint", False),
        ("on_test_start", "hitpool fit: interrupted", True),
    ],
)
def test_lightning(
    workplace: Path,
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    hook: str,
    line: str,
    kept: bool,
) -> None:
    Path("own_interrupt.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(workplace))
    options = [
        "--trainer.callbacks=null",
        f"--trainer.callbacks+={{class_path: own_interrupt.Interrupt, init_args: {{hook: {hook}}}}}",
        "--trainer.max_steps=1",
        "--trainer.limit_val_batches=0",
    ]
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main(["fit", *tiny, *options])
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert stop.value.code == 130
    said = "".join(capsys.readouterr())
    assert said.splitlines()[-1] == line
    assert Path("runs").exists() == kept
