import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich
from lightning.pytorch import Trainer
from torch import nn

from hitpool.training import TrackingModule
from hitpool.training.progress import EpochBars, EpochLines, TimeLeft

pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|no logger)")


def fit(path: Path, bars: Any, model: nn.Module, data: Any, **options: Any) -> None:
    trainer = Trainer(
        default_root_dir=path,
        accelerator="cpu",
        max_epochs=12,
        callbacks=[bars],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(TrackingModule("test", model), datamodule=data)


def test_lines_count_from_1_and_say_the_time_left(
    tmp_path: Path, model: nn.Module, make_data: Callable, capsys: pytest.CaptureFixture
) -> None:
    fit(tmp_path, EpochLines(), model, make_data())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    numbers = r"  train/loss \d\.\d{4}  val/loss \d\.\d{4}  \d+ events/s  \d\.\d s"
    for epoch, line in enumerate(lines, 1):
        left = r"  \d:\d\d:\d\d left" if epoch < 12 else ""
        assert re.fullmatch(rf"epoch {epoch}/12{numbers}{left}", line), line
    assert len(lines) == 12


def test_bars_are_one_row_of_80_columns_for_each_epoch(
    tmp_path: Path, model: nn.Module, make_data: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    rich.reconfigure(file=screen, width=80, force_terminal=True, legacy_windows=False)
    monkeypatch.setattr(rich, "reconfigure", lambda: None)
    monkeypatch.setattr("lightning.pytorch.callbacks.progress.rich_progress.reconfigure", lambda: None)
    model.weight.data *= 1e4
    fit(tmp_path, EpochBars(), model, make_data())
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue())
    rows = [row for row in re.split(r"[\r\n]", text) if row.startswith("epoch")]
    assert max(map(len, rows)) <= 80
    complete = [row.rstrip() for row in rows if re.search(r"6/6 +loss \S+  val \S+  \d+ events/s", row)]
    assert {row.split()[1] for row in complete} == {f"{epoch}/12" for epoch in range(1, 13)}
    assert re.search(r"\d:\d\d:\d\d left$", complete[0])
    assert not [
        row for row in text.split("\n") if row and not row.lstrip("\r").startswith(("epoch", "Validation", "Sanity"))
    ]


def test_time_left_is_that_of_the_steps_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 160.0, 160.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    trainer = SimpleNamespace(global_step=10, estimated_stepping_batches=100)
    left = TimeLeft(trainer)  # of a training that goes on after 10 steps
    assert str(left) == ""
    trainer.global_step = 40
    assert str(left) == "0:02:00 left"
    trainer.global_step = 100
    assert str(left) == ""
