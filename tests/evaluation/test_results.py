import json
import math
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest

from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.results import (
    Results,
    as_json,
    measure,
    results_table,
    training_means,
    with_trivial,
)
from hitpool.evaluation.tracks import MODEL, TRIVIAL, Tracks
from hitpool.residuals import sigma68

MEANS = {"pt": 40.0, "eta": 0.0, "phi": 0.5, "q": 1.0}


def evaluate(tracks: Tracks, means: dict[str, float] = MEANS) -> Results:
    return measure(with_trivial(tracks, means))


def of_model(tracks: Tracks, means: dict[str, float] = MEANS) -> dict[str, Number]:
    return {name: numbers[MODEL] for name, numbers in evaluate(tracks, means).items()}


def of_trivial(tracks: Tracks) -> dict[str, float]:
    return {name: numbers[TRIVIAL].value for name, numbers in evaluate(tracks).items()}


def test_parameters_of_the_particles_with_a_valid_track(three_events: Tracks) -> None:
    rows = of_model(three_events)
    assert rows["charge_accuracy"].value == 3 / 4
    assert rows["pt_sigma68"].value == pytest.approx(sigma68([0.1, -0.1, 0.0, 0.5]))
    assert rows["pt_median"].value == pytest.approx(0.05)
    assert rows["eta_sigma68"].value == pytest.approx(sigma68([0.1, 0.0, -0.1, 0.0]))
    phi = [2 * math.pi - 6.2, 0.1, 6.2 - 2 * math.pi, -0.1]
    assert rows["phi_sigma68"].value == pytest.approx(sigma68(phi))


def test_parameters_of_the_particles_matched_by_hits(three_events: Tracks) -> None:
    rows = of_model(three_events)
    assert rows["by_hits_charge_accuracy"].value == pytest.approx(2 / 3)
    assert rows["by_hits_pt_sigma68"].value == pytest.approx(sigma68([0.1, -0.1, 0.0]))
    assert rows["by_hits_efficiency"].value == pytest.approx(3 / 5)


def test_trivial_parameters_are_constants_on_the_same_tracks(three_events: Tracks) -> None:
    rows = of_trivial(three_events)
    true_pt = np.array([10.0, 20.0, 50.0, 100.0])
    assert rows["pt_sigma68"] == pytest.approx(sigma68(40 / true_pt - 1))
    assert rows["eta_sigma68"] == pytest.approx(sigma68([0.5, -0.5, 1.0, -2.0]))
    assert rows["charge_accuracy"] == 0.5
    assert rows["by_hits_charge_accuracy"] == pytest.approx(2 / 3)


def test_trivial_assignment_accepts_everything(three_events: Tracks) -> None:
    rows = of_trivial(three_events)
    assert rows["track_efficiency"] == 1.0
    assert rows["track_fake_rate"] == pytest.approx(1 / 6)
    assert rows["hit_efficiency"] == 1.0
    assert rows["hit_purity"] == pytest.approx((3 + 2 + 4 + 0 + 2 + 3) / (6 + 6 + 6 + 6 + 5 + 5))
    assert rows["count_accuracy"] == pytest.approx(2 / 3)


def test_slots_do_not_matter_when_matched_by_hits(three_events: Tracks) -> None:
    model = three_events.estimates[MODEL]
    swapped = replace(
        model,
        valid=model.valid[:, ::-1],
        values={quantity: values[:, ::-1] for quantity, values in model.values.items()},
        hits=model.hits[:, ::-1],
        shared_hits=model.shared_hits[..., ::-1],
    )
    rows, other = of_model(three_events), of_model(three_events.with_estimate(MODEL, swapped))
    for name in (name for name in rows if name.startswith("by_hits") or name == "count_accuracy"):
        assert other[name].value == rows[name].value
    assert other["hit_efficiency"].value != rows["hit_efficiency"].value


def test_fields_that_are_not_regressed_are_left_out(tracks) -> None:
    only_eta = tracks([[True]], [[True]], [[0, 0]], [[[0], [0]]], true={"eta": [[1.0]]}, predicted={"eta": [[1.5]]})
    rows = evaluate(only_eta, {"eta": 0.0})
    assert "eta_sigma68" in rows
    assert not {"pt_sigma68", "pt_median", "phi_sigma68", "charge_accuracy"} & rows.keys()


def test_a_missing_constant_is_named(three_events: Tracks) -> None:
    with pytest.raises(ValueError, match=r"no constant for \['q'\]"):
        evaluate(three_events, {quantity: 1.0 for quantity in MEANS if quantity != "q"})


def test_no_fake_of_fifty_has_an_upper_limit(from_masks) -> None:
    valid = np.ones((50, 1), bool)
    hits = np.ones((50, 1, 4), bool)
    tracks = from_masks(valid, valid, hits, hits, hits[:, 0])
    rows = of_model(tracks, {})
    limit = binomtest(0, 50).proportion_ci(0.6827).high
    fractions = {
        "track_fake_rate": 0.0,
        "by_hits_fake_rate": 0.0,
        "duplicate_rate": 0.0,
        "track_efficiency": 1.0,
        "hit_efficiency": 1.0,
    }
    fractions |= {"hit_purity": 1.0, "count_accuracy": 1.0, "by_hits_efficiency": 1.0}
    assert fractions.keys() == rows.keys()
    for name, value in fractions.items():
        expected = (0.0, limit) if value == 0 else (1 - limit, 1.0)
        assert (rows[name].low, rows[name].high) == pytest.approx(expected), name
    console = Console(file=StringIO(), width=160)
    console.print(results_table(evaluate(tracks, {}), tracks))
    assert console.file.getvalue().count("0.000 +0.036 -0.000") == 3
    stored = as_json(evaluate(tracks, {}), tracks)["results"]["track_fake_rate"]
    assert (stored["value"], stored["low"], stored["high"]) == (0.0, 0.0, pytest.approx(limit))


def test_every_fraction_of_a_model_has_an_interval(three_events: Tracks) -> None:
    for name, row in of_model(three_events).items():
        if "sigma68" not in name and "median" not in name:
            assert 0 <= row.low <= row.value <= row.high <= 1, name
            assert row.low < row.high, name


def test_no_events(three_events: Tracks) -> None:
    rows = evaluate(three_events.select(np.array([], int)))
    assert len(rows) == 18
    for numbers in rows.values():
        assert all(math.isnan(value) for number in numbers.values() for value in vars(number).values())


def test_nan_predictions_make_the_number_undefined(three_events: Tracks) -> None:
    three_events.estimates[MODEL].values["pt"][0, 0] = np.nan
    rows = of_model(three_events)
    assert math.isnan(rows["pt_sigma68"].value)
    assert math.isfinite(rows["eta_sigma68"].value)


def test_training_means() -> None:
    assert training_means({"pt": [5.0, 25.0], "q": [1, -1, -1]}) == {"pt": 15.0, "q": -1.0}
    assert training_means({"q": [1, -1]}) == {"q": 1.0}


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_training_means_need_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="pt needs at least one particle and finite values"):
        training_means({"pt": values})


def test_table_shows_numbers_and_definitions(three_events: Tracks) -> None:
    console = Console(file=StringIO(), width=160)
    console.print(results_table(evaluate(three_events), three_events))
    text = console.file.getvalue()
    assert "3 events, 5 particles, 5 tracks declared valid" in text
    assert "sigma68 of phi - true [rad]" in text
    assert "0.80 +0." in text
    assert "only use of truth" in text
    assert "Trivial predictor" in text


def test_json_is_strict_and_complete(three_events: Tracks, tracks) -> None:
    stored = json.loads(json.dumps(as_json(evaluate(three_events), three_events), allow_nan=False))
    assert stored["particles"] == 5
    assert stored["results"]["track_efficiency"]["value"] == 0.8
    assert stored["results"]["track_efficiency"]["trivial"] == 1.0
    nothing = tracks([[True]], [[False]], [[0]], [[[0]]])
    stored = json.loads(json.dumps(as_json(evaluate(nothing, {}), nothing), allow_nan=False))
    assert stored["results"]["hit_purity"]["value"] is None
