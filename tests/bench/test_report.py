import json
from pathlib import Path

import pytest

from hitpool.bench.angles import AngleRow
from hitpool.bench.cases import Case
from hitpool.bench.measure import FLOOR, FLOOR_BY_TRACK, FORWARD, STEP, Row
from hitpool.bench.memory import Memory
from hitpool.bench.plot import plot_times
from hitpool.bench.report import Report, read_json
from hitpool.bench.tables import gain, summary_table
from hitpool.bench.ways import OURS
from hitpool.evaluation.plots import save

SMALL, LARGE = Case("", 1, 2, 60, 8), Case("", 4, 2, 600, 8, 0.1)


def rows(case: Case, mode: str, ours: float, threads: int = 1) -> list[Row]:
    """Ours, two alternatives of which the faster takes 12 s, one that was not run, and floors of 0.5 s and 0.8 s."""
    return [
        Row(case, threads, mode, OURS, ours, 30),
        Row(case, threads, mode, "expand", 50.0, 3),
        Row(case, threads, mode, "sparse, compiled", 12.0, 30),
        Row(case, threads, mode, FLOOR, 0.5, 30),
        Row(case, threads, mode, FLOOR_BY_TRACK, 0.8, 30),
        Row(case, threads, mode, "torch_geometric", note="not installed"),
    ]


@pytest.fixture
def report() -> Report:
    return Report(
        {"date": "2026-01-31", "processor": "one"},
        repeat=30,
        rows=[*rows(SMALL, FORWARD, 1.0), *rows(LARGE, FORWARD, 3.0), *rows(SMALL, STEP, 2.0)],
        angles=1000,
        angle_rows=[
            AngleRow("float32", 1, FORWARD, way, seconds)
            for way, seconds in ((OURS, 0.002), ("chain", 0.006), ("chain, compiled", 0.005), ("copy", 0.001))
        ],
        memory={
            (SMALL, OURS): Memory(2**20, 3 * 2**20, 2**21, 2**19, 2**21, 1, 2**19),
            (SMALL, "torch_geometric"): "not installed",
        },
        overhead={"call": 9e-6, "dispatch": 4e-6, "torch": 1e-6, "step": 4e-5, "torch step": 2e-5},
    )


def test_gain_is_over_the_fastest_alternative() -> None:
    assert gain(rows(SMALL, FORWARD, 1.5)) == 8.0
    assert gain(rows(SMALL, FORWARD, 1.5)[:1]) is None


def test_geometric_mean_and_lowest(report: Report) -> None:
    forward, step = summary_table(report.rows).rows
    assert forward == ["forward, 1 thread, float32", "6.9", "4.0", "(4, 2, 600, 8) 10 %"]  # 12 and 4
    assert step[1:] == ["6.0", "6.0", "(1, 2, 60, 8) 20 %"]


def test_json_holds_everything(report: Report, tmp_path: Path) -> None:
    report.write_json(tmp_path / "new" / "bench.json")
    assert read_json(tmp_path / "new" / "bench.json") == report
    first = json.loads((tmp_path / "new" / "bench.json").read_text())["weighted_pool"][0]
    assert (first["case"]["hits"], first["mode"], first["way"], first["seconds"]) == (60, "forward", "hitpool", 1.0)


def test_markdown(report: Report) -> None:
    text = report.to_markdown()
    assert "weighted_pool, forward, 1 thread, float32, 20 % of the hits selected, ms" in text
    assert "| B, N, M, D | (1, 2, 60, 8) |\n| --- | --- |\n| hitpool | 1000.000 |" in text
    assert "| sparse, compiled | 12000.000 |" in text
    assert "| torch_geometric | - |" in text
    assert "| floor | 500.000 |\n| floor by track | 800.000 |\n| gain over fastest | 12.0 |\n" in text
    assert "| hitpool / floor | 2.0 |\n| hitpool / floor by track | 1.2 |" in text
    assert "| hitpool | 1.00 | 2.00 | 3.00 | 1 |\n| outputs, gradients | 0.50 | 2.00 | 2.50 |  |" in text
    assert "| chain, compiled | 5.00 |\n| copy | 1.00 |\n| gain over fastest | 2.5 |" in text
    assert "1 thread, forward: 9.0 us, of which dispatch 4.0 us" in text
    assert "forward + backward: 40.0 us (sigmoid of one number: 20.0 us)" in text
    assert "torch_geometric: not installed\n" in text
    assert "expand: median of 3 rounds\n" in text
    assert "Medians of 30 rounds. 2026-01-31, processor one" in text


def test_plot(report: Report, tmp_path: Path) -> None:
    figure = plot_times([*report.rows, *rows(SMALL, FORWARD, 0.7, threads=2)])
    (axes,) = figure.axes  # of the largest number of threads
    assert axes.get_yscale() == "log"
    heights = {bars.get_label(): bars[0].get_height() for bars in axes.containers}
    assert heights == {OURS: 700.0, "expand": 50e3, "sparse, compiled": 12e3, FLOOR: 500.0}
    assert save(figure, tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert len(plot_times(report.rows).axes) == 2  # forward, forward and backward
