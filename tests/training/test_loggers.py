import csv
from pathlib import Path

from hitpool.training.loggers import MetricsBoard, MetricsTable, count_epochs_from_one, drop_rows


def table(path: Path) -> MetricsTable:
    return MetricsTable(save_dir=str(path), name="muon", version="version_0")


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "muon" / "version_0" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_continues_the_table_with_old_and_new_columns(tmp_path: Path) -> None:
    first = table(tmp_path)
    first.log_metrics({"loss": 3.0}, step=0)
    first.log_metrics({"loss": 2.0}, step=1)
    first.save()
    second = table(tmp_path)
    second.log_metrics({"loss": 1.0}, step=2)
    second.save()
    second.log_metrics({"val": 0.5}, step=2)
    second.finalize("success")
    assert rows(tmp_path) == [
        {"loss": "3.0", "step": "0", "val": ""},
        {"loss": "2.0", "step": "1", "val": ""},
        {"loss": "1.0", "step": "2", "val": ""},
        {"loss": "", "step": "2", "val": "0.5"},
    ]


def test_rows_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    logger = table(tmp_path)
    for step in range(6):
        logger.log_metrics({"loss": float(step)}, step=step)
    logger.save()
    path = tmp_path / "muon" / "version_0" / "metrics.csv"
    drop_rows(path, 4)
    assert [row["step"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]
    drop_rows(path, 0)
    assert rows(tmp_path) == []
    again = table(tmp_path)
    again.log_metrics({"loss": 9.0}, step=0)
    again.save()
    assert rows(tmp_path) == [{"loss": "9.0", "step": "0"}]


def test_rows_are_dropped_when_there_are_new_ones(tmp_path: Path) -> None:
    first = table(tmp_path)
    for step in range(4):
        first.log_metrics({"loss": float(step)}, step=step)
    first.save()
    assert first.rows == 4
    second = MetricsTable(keep=2, save_dir=str(tmp_path), name="muon", version="version_0")
    assert second.rows == 2
    second.save()
    assert len(rows(tmp_path)) == 4
    second.log_metrics({"loss": 7.0}, step=2)
    second.save()
    assert second.rows == 3
    assert [row["loss"] for row in rows(tmp_path)] == ["0.0", "1.0", "7.0"]


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,loss\n0,3,1.5\n0,1")
    drop_rows(path, 20)
    assert path.read_text().split() == ["epoch,step,loss", "0,3,1.5"]
    path.write_text("epoch,st")
    drop_rows(path, 20)
    drop_rows(tmp_path / "missing.csv", 20)
    assert not (tmp_path / "missing.csv").exists()


def test_board_writes_event_files_only(tmp_path: Path) -> None:
    board = MetricsBoard(save_dir=str(tmp_path), name="muon", version="version_0", default_hp_metric=False)
    board.log_metrics({"loss": 1.0}, step=0)
    board.save()
    board.finalize("success")
    assert [path.name.split(".")[0] for path in (tmp_path / "muon" / "version_0").iterdir()] == ["events"]


def test_epochs_count_from_1_and_a_test_has_none(tmp_path: Path) -> None:
    logger = count_epochs_from_one(table(tmp_path))
    logger.log_metrics(metrics={"epoch": 0, "val/loss": 2.0}, step=3)
    logger.log_metrics({"epoch": 1, "test/loss": 1.0}, step=4)
    logger.save()
    assert rows(tmp_path) == [
        {"epoch": "1", "step": "3", "test/loss": "", "val/loss": "2.0"},
        {"epoch": "", "step": "4", "test/loss": "1.0", "val/loss": ""},
    ]
