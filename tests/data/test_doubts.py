"""Wrong units and scales are named; the simulated events are not doubted."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from hitpool.data import HitDataModule
from hitpool.data.magnitudes import doubtful_columns

from .data_sets import HIT_COLUMNS, TRACK_COLUMNS, Events, make_events, write_dataset

TARGETS = [*TRACK_COLUMNS, "truthMuon_qpt"]
FACTORS = dict.fromkeys(HIT_COLUMNS[:6], 1e-3) | {"spacePoint_channel": 1e-3}


def doubts(folder: Path, events: Events, inputs: list[str], scale_factors: dict[str, float] = FACTORS) -> list[str]:
    folder = write_dataset(folder / "set", events)
    data = HitDataModule({"hit": inputs}, {"particle": TARGETS}, train_dir=folder, scale_factors=scale_factors)
    return data.doubts()


def changed(what: str, column: str, factor: float) -> Events:
    events = make_events(60)
    for own in getattr(events, what):
        own[:, (HIT_COLUMNS if what == "hits" else TRACK_COLUMNS).index(column)] *= factor
    return events


def in_other_lengths(factor: float) -> Events:
    events = make_events(60)
    for hits in events.hits:
        hits[:, :6] *= factor
    return events


def test_plausible_events_are_not_doubted(tmp_path: Path) -> None:
    assert doubts(tmp_path, make_events(60), ["spacePoint_channel", "r", "theta", "mid_phi", "mid_eta"]) == []


@pytest.mark.parametrize(
    ("column", "factor", "expected"),
    [
        (
            "truthMuon_pt",
            1e3,
            r"target truthMuon_pt: .* expected 0.1 to 1000 GeV; .* MeV: multiply the column by 0.001 in",
        ),
        (
            "truthMuon_pt",
            1e-4,
            r"target truthMuon_pt: .* expected 0.1 to 1000 GeV; .* TeV: multiply the column by 1000 in",
        ),
        (
            "truthMuon_phi",
            180 / math.pi,
            r"target truthMuon_phi: .* expected 0 to 6.284 rad; .* degrees: multiply the column by 0.01745 in",
        ),
        (
            "truthMuon_eta",
            0.0,
            r"target truthMuon_eta: the standard deviation is 0 \(mean 0\), expected 0.0001 to",
        ),
        ("truthMuon_eta", 1e4, r"target truthMuon_eta: the standard deviation is \S+ \(mean .*\), expected 0.0001 to"),
    ],
)
def test_targets(tmp_path: Path, column: str, factor: float, expected: str) -> None:
    lines = doubts(tmp_path, changed("tracks", column, factor), ["spacePoint_channel"])
    (line,) = [line for line in lines if f"target {column}:" in line]
    assert re.match(expected, line), line


@pytest.mark.parametrize(
    ("factor", "unit", "remedy"), [(1e-3, "m times 0.001", 1000), (0.1, "cm times 0.001", 10), (1e3, "mm", 0.001)]
)
def test_coordinates(tmp_path: Path, factor: float, unit: str, remedy: float) -> None:
    lines = doubts(tmp_path, in_other_lengths(factor), ["spacePoint_globEdgeLowX", "r", "mid_x", "spacePoint_channel"])
    assert len(lines) == 1
    assert all(f"globEdge{edge}{axis}" in lines[0] for edge in ("Low", "High") for axis in "XYZ")
    assert "times data.scale_factors: the largest absolute value is" in lines[0]
    assert lines[0].endswith(
        f"expected 3 to 30 m; it looks like {unit}: multiply their data.scale_factors by {remedy:g}"
    )


def test_the_remedies_help(tmp_path: Path) -> None:
    events = in_other_lengths(1e-3)
    events.columns = [name.replace("spacePoint_covXX", "cell_phi") for name in HIT_COLUMNS]
    for hits in events.hits:
        hits[:, events.columns.index("cell_phi")] /= 50  # +-180 degrees
    inputs = ["cell_phi", "r"]
    phi, lengths = doubts(tmp_path, events, inputs)[:2]
    assert phi.endswith("; it looks like degrees: set data.scale_factors.cell_phi to 0.01745")
    assert lengths.endswith("multiply their data.scale_factors by 1000")
    factors = {"cell_phi": 0.01745} | dict.fromkeys(HIT_COLUMNS[:6], 1e-3 * 1000)
    assert doubts(tmp_path / "again", events, inputs, scale_factors=factors) == []


def test_inputs_far_from_order_one_are_named_with_a_factor(tmp_path: Path) -> None:
    (line,) = doubts(tmp_path, make_events(60), ["spacePoint_channel", "spacePoint_driftR", "r"])
    assert "spacePoint_driftR is " in line
    factor = float(line.partition("data.scale_factors.spacePoint_driftR ")[2].rstrip(")"))
    assert "spacePoint_channel" not in line
    assert (
        doubts(
            tmp_path / "again",
            make_events(60),
            ["spacePoint_channel", "spacePoint_driftR", "r"],
            scale_factors={"spacePoint_channel": 1e-3, "spacePoint_driftR": factor}
            | dict.fromkeys(HIT_COLUMNS[:6], 1e-3),
        )
        == []
    )


def test_an_input_that_overflows_is_named(tmp_path: Path) -> None:
    factors = dict.fromkeys(HIT_COLUMNS[:6], 1e-3) | {"spacePoint_channel": 1e38}
    (line,) = doubts(tmp_path, make_events(60), ["spacePoint_channel", "r"], scale_factors=factors)
    assert "spacePoint_channel is " in line


def test_a_column_of_zeros_is_no_matter_of_scale(tmp_path: Path) -> None:
    assert doubts(tmp_path, changed("hits", "spacePoint_driftR", 0.0), ["spacePoint_driftR", "r"]) == []


def test_bad_hits_are_errors(tmp_path: Path) -> None:
    events = make_events(60)
    events.hits[7][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"event 7 .*globEdgeHighX' of hit 0 is nan"):
        doubts(tmp_path, events, ["spacePoint_globEdgeHighX"])


def test_events_without_hits_and_particles_are_not_doubted(tmp_path: Path) -> None:
    events = make_events(1)
    assert doubts(tmp_path, events, ["r"]) == []


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("mc_pt", 4e4, "MeV"),
        ("pt", 0.04, "TeV"),
        ("truth_qpt", 5e-5, "1/MeV"),
        ("truth_qpt", 50.0, "1/TeV"),
        ("phi", 179.0, "degrees"),
        ("mc_theta", 3100.0, "mrad"),
    ],
)
def test_the_other_unit_is_guessed(name: str, value: float, unit: str) -> None:
    text = doubtful_columns([name], [value], [value], "multiply {name} by {factor}")[name]
    factor = float(text.partition(f"; it looks like {unit}: multiply {name} by ")[2])
    assert doubtful_columns([name], [value * factor], [value * factor], "") == {}


def test_errors_of_quantities_are_not_judged() -> None:
    assert doubtful_columns(["kalman_sigma_qpt", "stationPhi"], [1e-6, 30.0], [1e-5, 48.0], "") == {}
