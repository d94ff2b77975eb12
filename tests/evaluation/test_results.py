import json
import math
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest

from hitpool.evaluation import EventTracks, ParameterFields, evaluate, results, sigma68

MEANS = {"truthMuon_pt": 40.0, "truthMuon_eta": 0.0, "truthMuon_phi": 0.5, "truthMuon_q": 1.0}


def by_name(tracks: EventTracks, **options: object) -> dict[str, results.Result]:
    return {row.name: row for row in evaluate(tracks, MEANS, **options)}


def test_parameters_of_the_particles_with_a_valid_track(three_events: EventTracks) -> None:
    rows = by_name(three_events)
    assert rows["charge_accuracy"].value == 3 / 4
    assert rows["pt_sigma68"].value == pytest.approx(sigma68([0.1, -0.1, 0.0, 0.5]))
    assert rows["pt_median"].value == pytest.approx(0.05)
    assert rows["eta_sigma68"].value == pytest.approx(sigma68([0.1, 0.0, -0.1, 0.0]))
    phi = [2 * math.pi - 6.2, 0.1, 6.2 - 2 * math.pi, -0.1]
    assert rows["phi_sigma68"].value == pytest.approx(sigma68(phi))
    assert rows["phi_sigma68"].unit == "rad"


def test_parameters_of_the_particles_matched_by_hits(three_events: EventTracks) -> None:
    rows = by_name(three_events)
    assert rows["by_hits_charge_accuracy"].value == pytest.approx(2 / 3)
    assert rows["by_hits_pt_sigma68"].value == pytest.approx(sigma68([0.1, -0.1, 0.0]))
    assert rows["by_hits_efficiency"].value == pytest.approx(3 / 5)


def test_trivial_parameters_are_constants_on_the_same_tracks(three_events: EventTracks) -> None:
    rows = by_name(three_events)
    true_pt = np.array([10.0, 20.0, 50.0, 100.0])
    assert rows["pt_sigma68"].trivial == pytest.approx(sigma68(40 / true_pt - 1))
    assert rows["eta_sigma68"].trivial == pytest.approx(sigma68([0.5, -0.5, 1.0, -2.0]))
    assert rows["charge_accuracy"].trivial == 0.5
    assert rows["by_hits_charge_accuracy"].trivial == pytest.approx(2 / 3)


def test_trivial_assignment_accepts_everything(three_events: EventTracks) -> None:
    rows = by_name(three_events)
    assert rows["track_efficiency"].trivial == 1.0
    assert rows["track_fake_rate"].trivial == pytest.approx(1 / 6)
    assert rows["hit_efficiency"].trivial == 1.0
    assert rows["hit_purity"].trivial == pytest.approx((3 + 2 + 4 + 0 + 2 + 3) / (6 + 6 + 6 + 6 + 5 + 5))
    assert rows["count_accuracy"].trivial == pytest.approx(2 / 3)


def test_slots_do_not_matter_when_matched_by_hits(three_events: EventTracks) -> None:
    swapped = EventTracks(
        event=three_events.event,
        particle_valid=three_events.particle_valid,
        track_valid=three_events.track_valid[:, ::-1],
        particle_hits=three_events.particle_hits,
        track_hits=three_events.track_hits[:, ::-1],
        shared_hits=three_events.shared_hits[..., ::-1],
        num_hits=three_events.num_hits,
        true=three_events.true,
        predicted={field: values[:, ::-1] for field, values in three_events.predicted.items()},
    )
    rows, other = by_name(three_events), by_name(swapped)
    for name in (name for name in rows if name.startswith("by_hits") or name == "count_accuracy"):
        assert other[name].value == rows[name].value
    assert other["hit_efficiency"].value != rows["hit_efficiency"].value


def test_fields_that_are_not_regressed_are_left_out(tracks) -> None:
    only_eta = tracks([[True]], [[True]], [[0, 0]], [[[0], [0]]], true={"eta": [[1.0]]}, predicted={"eta": [[1.5]]})
    rows = {row.name: row for row in evaluate(only_eta, {"eta": 0.0}, ParameterFields(eta="eta"))}
    assert "eta_sigma68" in rows
    assert not {"pt_sigma68", "pt_median", "phi_sigma68", "charge_accuracy"} & rows.keys()


def test_a_missing_constant_is_named(three_events: EventTracks) -> None:
    with pytest.raises(ValueError, match=r"no constant for \['truthMuon_q'\]"):
        evaluate(three_events, {field: 1.0 for field in MEANS if field != "truthMuon_q"})


def test_bootstrap_error_of_an_efficiency_is_the_binomial_one() -> None:
    generator = np.random.default_rng(1)
    valid = np.ones((1000, 1), bool)
    found = generator.random((1000, 1)) < 0.8
    hits = np.zeros((1000, 1, 1), bool)
    tracks = EventTracks.from_masks(np.arange(1000), valid, found, hits, hits, hits[:, 0], {}, {})
    error = results.bootstrap_errors(tracks, ParameterFields(), resamples=400)["track_efficiency"]
    assert error == pytest.approx(math.sqrt(0.8 * 0.2 / 1000), rel=0.15)


def test_no_fake_of_fifty_has_an_upper_limit() -> None:
    valid = np.ones((50, 1), bool)
    hits = np.ones((50, 1, 4), bool)
    tracks = EventTracks.from_masks(np.arange(50), valid, valid, hits, hits, hits[:, 0], {}, {})
    rows = {row.name: row for row in evaluate(tracks, {})}
    limit = binomtest(0, 50).proportion_ci(0.6827).high
    fractions = {"track_fake_rate": 0.0, "by_hits_fake_rate": 0.0, "track_efficiency": 1.0, "hit_efficiency": 1.0}
    fractions |= {"hit_purity": 1.0, "count_accuracy": 1.0, "by_hits_efficiency": 1.0}
    assert fractions.keys() == rows.keys()
    for name, value in fractions.items():
        expected = (0.0, limit) if value == 0 else (1 - limit, 1.0)
        assert (rows[name].low, rows[name].high) == pytest.approx(expected), name
    console = Console(file=StringIO(), width=160)
    console.print(results.table(list(rows.values()), tracks))
    assert console.file.getvalue().count("0.000 +0.036 -0.000") == 2
    stored = results.as_json(list(rows.values()), tracks)["results"]["track_fake_rate"]
    assert (stored["value"], stored["low"], stored["high"]) == (0.0, 0.0, pytest.approx(limit))


def test_every_fraction_of_a_model_has_an_interval(three_events: EventTracks) -> None:
    for name, row in by_name(three_events).items():
        if "sigma68" not in name and "median" not in name:
            assert 0 <= row.low <= row.value <= row.high <= 1, name
            assert row.low < row.high, name


def test_no_events(three_events: EventTracks) -> None:
    for row in evaluate(three_events.select(np.array([], int)), MEANS):
        assert math.isnan(row.value)
        assert math.isnan(row.low)
        assert math.isnan(row.high)
        assert math.isnan(row.trivial)


def test_nan_predictions_make_the_number_undefined(three_events: EventTracks) -> None:
    three_events.predicted["truthMuon_pt"][0, 0] = np.nan
    rows = by_name(three_events)
    assert math.isnan(rows["pt_sigma68"].value)
    assert math.isfinite(rows["eta_sigma68"].value)


def test_training_means() -> None:
    fields = ParameterFields()
    targets = {"truthMuon_pt": [5.0, 25.0], "truthMuon_q": [1, -1, -1]}
    assert results.training_means(targets, fields) == {"truthMuon_pt": 15.0, "truthMuon_q": -1.0}
    assert results.training_means({"truthMuon_q": [1, -1]}, fields) == {"truthMuon_q": 1.0}


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_training_means_need_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="truthMuon_pt needs at least one particle and finite values"):
        results.training_means({"truthMuon_pt": values}, ParameterFields())


def test_table_shows_numbers_and_definitions(three_events: EventTracks) -> None:
    console = Console(file=StringIO(), width=160)
    console.print(results.table(evaluate(three_events, MEANS), three_events))
    text = console.file.getvalue()
    assert "3 events, 5 particles, 5 tracks declared valid" in text
    assert "sigma68 of phi - true [rad]" in text
    assert "0.80 +0." in text
    assert "only use of truth" in text
    assert "Trivial predictor" in text


def test_json_is_strict_and_complete(three_events: EventTracks, tracks) -> None:
    stored = json.loads(json.dumps(results.as_json(evaluate(three_events, MEANS), three_events), allow_nan=False))
    assert stored["particles"] == 5
    assert stored["results"]["track_efficiency"]["value"] == 0.8
    assert stored["results"]["track_efficiency"]["trivial"] == 1.0
    nothing = tracks([[True]], [[False]], [[0]], [[[0]]])
    stored = json.loads(json.dumps(results.as_json(evaluate(nothing, {}), nothing), allow_nan=False))
    assert stored["results"]["hit_purity"]["value"] is None
