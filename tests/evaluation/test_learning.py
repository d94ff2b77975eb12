"""Curves are the numbers of the metrics.csv, after the epochs to which they belong."""

from pathlib import Path

import pytest

from hitpool.evaluation.learning import plot_curves, read_curves

METRICS = """\
epoch,step,train/loss,train/loss_step,val/final_hit_efficiency,val/final_pt_res_sigma68,val/layer0_hit_efficiency,val/loss
0,10,,3.5,,,,
1,15,2.5,,,,,
1,20,3.0,,,,,
1,20,,,0.5,0.2,0.1,4.0
2,40,2.0,,,,,
2,40,,,0.75,0.1,0.2,
"""


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS)
    return path


def test_metrics_of_epochs_become_curves(metrics: Path) -> None:
    assert read_curves(metrics) == {
        "train/loss": {1: 3.0, 2: 2.0},
        "val/final_hit_efficiency": {1: 0.5, 2: 0.75},
        "val/final_pt_res_sigma68": {1: 0.2, 2: 0.1},
        "val/loss": {1: 4.0},
    }


def test_each_kind_has_a_panel_with_its_curves(metrics: Path) -> None:
    figure = plot_curves(read_curves(metrics), "mine/version_0")
    losses, fractions, widths = figure.axes
    assert [line.get_xydata().tolist() for line in losses.lines] == [[[1, 3], [2, 2]], [[1, 4]]]
    assert [line.get_label() for line in fractions.lines] == ["hit efficiency"]
    assert [line.get_label() for line in widths.lines] == ["pt"]
    assert losses.get_yscale() == widths.get_yscale() == "log"
    assert widths.get_xlabel() == "Epochs"


def test_a_training_without_validation_has_one_panel() -> None:
    assert len(plot_curves({"train/loss": {1: 2.0}}, "mine/version_0").axes) == 1
