"""Runs side by side, from files as their tests write them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from hitpool.evaluation.compare_command import run
from hitpool.evaluation.compare_runs import compare_runs, figures
from hitpool.evaluation.tested_runs import Measured, group, read_run

CONFIG = {"seed_everything": 1, "name": "a", "runs": "runs", "data": {"seed": 1, "batch_size": 100}, "threads": None}


def number(value: float | None, error: float = 0.01) -> dict[str, float | None]:
    limits = (None, None) if value is None else (value - error, value + error)
    return {"value": value, "low": limits[0], "high": limits[1]}


def write(folder: Path, width: float, particles: int = 70, evaluated: bool = True, **config: object) -> Path:
    """A run directory whose resolution in the two bins of pT is `width` and twice that."""
    (folder / "evaluation").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | config))
    table = {"phi_sigma68": number(width) | {"label": "sigma68 of phi - true", "unit": "rad"}}
    table["track_efficiency"] = number(0.9) | {"label": "track validity efficiency", "unit": ""}
    results = {"definitions": "", "events": 50, "particles": particles, "results": table}
    (folder / "results.json").write_text(json.dumps(results))
    losses = [(epoch, width / epoch) for epoch in (1, 2, 3)]
    rows = [f"{epoch},{10 * epoch},,{loss}\n{epoch},{10 * epoch + 9},{loss},\n" for epoch, loss in losses]
    (folder / "metrics.csv").write_text("epoch,step,train/loss,val/loss\n" + "".join(rows))
    if evaluated:
        bins = [
            {"low": low, "high": 2 * low, "tracks": 35, "phi": {"sigma68": {"model": number(value)}}}
            for low, value in ((5.0, width), (10.0, 2 * width))
        ]
        bins[1]["q"] = {"accuracy": {"model": number(None), "true hits": number(1.0)}}
        whole = {"sigma68": {"model": number(width)}, "pull": {"model": number(1.1), "true hits": number(1.0)}}
        resolution = {"definitions": "", "units": {"phi": "rad"}, "counts": {"particles": particles}}
        resolution |= {"all": {"phi": whole}, "bins": {"pt": bins}, "variables": {"pt": "GeV"}}
        (folder / "evaluation" / "resolution.json").write_text(json.dumps(resolution))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Three seeds of one setting and another setting."""
    seeds = [
        write(tmp_path / "small" / f"version_{k}", width, seed_everything=k, data={"seed": k, "batch_size": 100})
        for k, width in enumerate((1.0, 2.0, 3.0))
    ]
    return [*seeds, write(tmp_path / "large" / "version_0", 5.0, data={"seed": 1, "batch_size": 500})]


def by_label(measured: Measured) -> dict[str, tuple[float, float]]:
    return {line.label: (own.value, own.error) for line, own in measured.numbers.items()}


def test_seeds_are_merged_into_mean_and_spread(runs: list[Path]) -> None:
    small, large = group([read_run(path) for path in runs])
    assert (small.label, small.runs, large.label, large.runs) == ("small (n = 3)", 3, "large/version_0", 1)
    assert by_label(small)["sigma68 of phi - true"] == pytest.approx((2.0, 1.0))
    assert by_label(small)["track validity efficiency"] == pytest.approx((0.9, 0.0))
    assert by_label(large)["sigma68 of phi - true"] == pytest.approx((5.0, 0.01))
    first, second = small.bins["pt", "phi", "sigma68"]
    assert (first.value, first.error, second.value, second.error) == pytest.approx((2.0, 1.0, 4.0, 2.0))
    assert small.edges == {"pt": [5.0, 10.0, 20.0]}
    assert [curves["val/loss"][1] for curves in small.curves] == [1.0, 2.0, 3.0]


def test_an_evaluation_adds_what_the_table_of_the_test_lacks(runs: list[Path]) -> None:
    labels = list(by_label(read_run(runs[0]).measured))
    assert labels == ["sigma68 of phi - true", "track validity efficiency", "phi: residual / own error"]


def test_an_undefined_number_makes_the_mean_undefined(runs: list[Path]) -> None:
    small, _ = group([read_run(path) for path in runs])
    assert [np.isnan(own.value) for own in small.bins["pt", "q", "accuracy"]] == [True, True]


def test_other_settings_are_not_merged(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a", 1.0), write(tmp_path / "b", 1.0, trainer={"max_epochs": 3})]
    assert [own.label for own in group([read_run(path) for path in paths])] == ["a", "b"]
    (tmp_path / "a" / "config.yaml").unlink()
    (tmp_path / "b" / "config.yaml").unlink()
    assert len(group([read_run(path) for path in paths])) == 2  # what is not known is not the same


def test_table_and_plots_are_written(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "compared"
    run([*map(str, runs), f"--output={output}"])
    shown = capsys.readouterr().out
    assert "4 runs, tested with 70 particles" in shown
    assert "small (n = 3)" in shown
    lines = (output / "comparison.md").read_text().splitlines()
    assert lines[0] == "| number | small (n = 3) | large/version_0 |"
    assert lines[2] == "| sigma68 of phi - true [rad] | 2.0 ± 1.0 | 5.0000 ± 0.0100 |"
    with (output / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "number": "sigma68 of phi - true",
        "unit": "rad",
        "run": "small (n = 3)",
        "n": "3",
        "value": "2",
        "low": "1",
        "high": "3",
    }
    assert len(rows) == 6
    names = {path.name for path in (output / "plots").iterdir()}
    assert names >= {"phi_sigma68_pt.png", "q_accuracy_pt.png", "train_loss.png", "val_loss.png"}


def test_figures_show_every_setting(runs: list[Path]) -> None:
    drawn = dict(figures(group([read_run(path) for path in runs]), {"phi": "rad"}, "Four runs"))
    for name in ("phi_sigma68_pt", "val_loss"):
        (axes,) = drawn[name].axes
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["small (n = 3)", "large/version_0"]
    (axes,) = drawn["phi_sigma68_pt"].axes
    assert axes.get_ylabel() == r"$\sigma_{68}$ of $\phi$ [rad]"
    assert axes.get_xlabel() == r"True $p_\mathrm{T}$ [GeV]"
    assert axes.get_xscale() == "log"
    (axes,) = drawn["val_loss"].axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 2.0], [2, 1.0], [3, 2 / 3]])


def test_runs_without_evaluation_are_said_to_be_missing_in_plots(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    paths = [write(tmp_path / "a", 1.0), write(tmp_path / "b", 1.0, evaluated=False)]
    compare_runs(paths, tmp_path / "compared")
    checkpoint = tmp_path / "b" / "ckpts" / "best.ckpt"
    assert f"b is not in the plots of resolution and efficiency: 'hitpool evaluate --checkpoint {checkpoint}'" in (
        capsys.readouterr().out
    )


def test_a_run_that_has_not_been_tested_is_named(tmp_path: Path, runs: list[Path]) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text("name: new\n")
    with pytest.raises(ValueError, match=r"new has not been tested: expected .*; 'hitpool evaluate .*new/ckpts"):
        compare_runs([runs[0], tmp_path / "new"], tmp_path / "compared")
    assert not (tmp_path / "compared" / "comparison.csv").exists()


def test_what_is_no_run_is_named(tmp_path: Path, runs: list[Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"small: expected a run directory.*; below it are .*small/version_0, "):
        compare_runs([runs[0], tmp_path / "small"], tmp_path / "compared")


def test_one_run_is_no_comparison(runs: list[Path]) -> None:
    for paths in ([runs[0]], [runs[0], runs[0]]):
        with pytest.raises(ValueError, match="expected at least two different runs, got"):
            group([read_run(path) for path in paths])


def test_tests_on_other_events_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a", 1.0), write(tmp_path / "b", 1.0, particles=71)]
    with pytest.raises(ValueError, match=r"b was tested on other events than .*a: results.json has 50 events and 71 p"):
        group([read_run(path) for path in paths])


def test_damaged_files_are_named(runs: list[Path]) -> None:
    (runs[0] / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results.json is damaged: "):
        read_run(runs[0])
