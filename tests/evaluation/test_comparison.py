import dataclasses
import io
import itertools
import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import binomtest, norm

from hitpool import residuals
from hitpool.evaluation import comparison
from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.comparison import Bins, Row, compare, compare_in_bins
from hitpool.evaluation.plots import plot_fraction, plot_resolution
from hitpool.evaluation.quantities import complete, fields_by_quantity, parameter_fields
from hitpool.evaluation.tables import as_json, bins_tables, comparison_table, title
from hitpool.evaluation.tracks import BOUND, MODEL, Estimate, Tracks
from hitpool.evaluation.variables import bin_numbers, eta_edges, momentum_edges

COUNTS = {"particles": 9, "compared": 3}


def make_tracks(size: int = 4000, per_event: int = 2, worse: float = 2.0, seed: int = 0) -> Tracks:
    """The model is worse than the reference by a factor, and has every tenth charge wrong."""
    rng = np.random.default_rng(seed)
    true = {"pt": np.exp(rng.uniform(0, math.log(100), size)), "eta": rng.uniform(-2.4, 2.4, size)}
    true |= {"phi": rng.uniform(-np.pi, np.pi, size), "q": rng.choice([-1.0, 1.0], size)}
    shape = size // per_event, per_event
    slots = np.ones(shape, bool)

    def shaped(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {quantity: own.reshape(shape) for quantity, own in complete(values).items()}

    def measure(error: float) -> dict[str, np.ndarray]:
        noise = rng.normal(0, error, (3, size))
        phi = np.mod(true["phi"] + noise[2] + np.pi, 2 * np.pi) - np.pi
        return {"pt": true["pt"] * (1 + noise[0]), "eta": true["eta"] + noise[1], "phi": phi, "q": true["q"]}

    model, reference = measure(0.01 * worse), measure(0.01)
    model["q"] = np.where(np.arange(size) % 10 == 0, -1, 1) * true["q"]
    estimates = {name: Estimate(slots, shaped(values)) for name, values in ((MODEL, model), ("fit", reference))}
    bound = Estimate(slots, errors={"qpt": np.full(shape, 0.005), "eta": np.full(shape, 0.005)})
    return Tracks(np.arange(shape[0]), slots, shaped(true), estimates | {BOUND: bound})


def only(values: dict[str, np.ndarray], *quantities: str) -> Estimate:
    kept = {quantity: values[quantity] for quantity in quantities}
    return Estimate(np.ones(values["eta"].shape, bool), kept)


def by_measure(rows: list[Row]) -> dict[tuple[str, str], dict[str, Number]]:
    return {(row.quantity, row.measure): row.numbers for row in rows}


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return make_tracks()


def test_values_are_those_of_the_definitions(tracks: Tracks) -> None:
    rows = by_measure(compare(tracks, "fit"))
    assert list(dict.fromkeys(quantity for quantity, _ in rows)) == ["qpt", "eta", "phi", "q"]
    true = tracks.true
    for name, own in ((name, estimate.values) for name, estimate in tracks.measured.items()):
        values = {
            "qpt": own["q"] / own["pt"] / (true["q"] / true["pt"]) - 1,
            "eta": own["eta"] - true["eta"],
            "phi": residuals.periodic_residual(own["phi"], true["phi"]),
        }
        for quantity, residual in values.items():
            width = residuals.sigma68(residual)
            expected = {
                "sigma68": width,
                "rms": residuals.rms(residual),
                "median": np.median(residual),
                "beyond_5_sigma68": np.mean(np.abs(residual) > 5 * width),
            }
            for measure, value in expected.items():
                assert rows[quantity, measure][name].value == pytest.approx(value, rel=1e-9)
        assert rows["qpt", "beyond_20"][name].value == np.mean(np.abs(values["qpt"]) > 0.2)
        assert rows["eta", "to_bound"][name].value == pytest.approx(residuals.sigma68(values["eta"] / 0.005))
        assert rows["q", "accuracy"][name].value == np.mean(own["q"] == true["q"])
    assert rows["q", "accuracy"][MODEL].value == pytest.approx(0.9)
    ratio = rows["eta", "to_reference"]
    assert ratio[MODEL].value == pytest.approx(2, abs=5 * ratio[MODEL].error)
    assert set(ratio) == {MODEL}
    assert not {("phi", "to_bound"), ("eta", "beyond_20")} & set(rows)


def test_pulls_are_residuals_in_units_of_the_own_error(tracks: Tracks) -> None:
    model = tracks.estimates[MODEL]
    errors = np.where(np.arange(len(tracks)) % 2, 0.02, 0.04)[:, None] * np.ones(2)
    stated = tracks.with_estimate(MODEL, dataclasses.replace(model, errors={"eta": errors}))
    rows = by_measure(compare(stated))
    residual = model.values["eta"] - tracks.true["eta"]
    assert rows["eta", "pull"][MODEL].value == pytest.approx(residuals.sigma68(residual / errors))
    assert set(rows["eta", "pull"]) == {MODEL}
    assert ("phi", "pull") not in rows
    bins = compare_in_bins(stated, "eta", [0, 1, 3])
    (axes,) = plot_fraction(bins, "eta", "eta_pull", "mine/test").axes
    expected = [number.value for number in bins.column("eta", "pull", MODEL)]
    np.testing.assert_array_equal(axes.containers[0].lines[0].get_ydata(), expected)


def test_bound_is_a_median_and_an_accuracy(tracks: Tracks) -> None:
    errors = np.where(np.arange(len(tracks)) % 4, 0.5, 2.0)[:, None] * np.ones(2)
    rows = by_measure(compare(tracks.with_estimate(BOUND, Estimate(tracks.particle, errors={"qpt": errors}))))
    assert rows["qpt", "sigma68"][BOUND].value == 0.5
    assert rows["q", "accuracy"][BOUND].value == pytest.approx((3 * norm.cdf(2) + norm.cdf(0.5)) / 4)
    assert BOUND not in rows["eta", "sigma68"]


def test_errors_are_the_scatter_of_repeated_experiments() -> None:
    repeated = [by_measure(compare(make_tracks(600, seed=seed), "fit")) for seed in range(40)]
    measures = ("sigma68", "rms", "median", "to_bound", "to_reference")
    for key in [("eta", measure) for measure in measures] + [("qpt", "beyond_20"), ("q", "accuracy")]:
        numbers = [rows[key][MODEL] for rows in repeated]
        scatter = np.std([number.value for number in numbers], ddof=1)
        # the charge of every tenth track is wrong, in each experiment
        expected = np.sqrt(0.09 / 600) if key[0] in ("qpt", "q") else scatter
        assert np.mean([number.error for number in numbers]) == pytest.approx(expected, rel=0.35)


def test_events_are_drawn_whole() -> None:
    # Four copies of every particle in an event carry no more information than one.
    single = make_tracks(500, per_event=1)
    events = single.select(np.repeat(np.arange(500), 4))  # of the same number
    one, four = (by_measure(compare(own))["eta", "sigma68"][MODEL] for own in (single, events))
    assert four.error == pytest.approx(one.error, rel=0.3)


def test_equal_estimates_have_ratio_one(tracks: Tracks) -> None:
    rows = by_measure(compare(tracks.with_estimate(MODEL, tracks.estimates["fit"]), "fit"))
    for quantity in ("qpt", "eta", "phi"):
        ratio = rows[quantity, "to_reference"][MODEL]
        assert (ratio.value, ratio.error) == (1.0, 0.0)
    limit = 1 - 0.15865 ** (1 / tracks.particle.size)  # none is wrong
    assert rows["q", "accuracy"][MODEL].high == 1.0
    assert rows["q", "accuracy"][MODEL].low == pytest.approx(1 - limit, rel=1e-6)


def test_the_charge_has_a_binomial_interval(tracks: Tracks) -> None:
    number = by_measure(compare(tracks))["q", "accuracy"][MODEL]
    expected = binomtest(400, 4000).proportion_ci(0.6827)
    assert 1 - number.high == pytest.approx(expected.low, abs=5e-4)  # the number of trials is that of a bootstrap
    assert 1 - number.low == pytest.approx(expected.high, abs=5e-4)


def test_a_charge_of_nan_is_wrong_and_one_nan_makes_a_width_undefined(tracks: Tracks) -> None:
    values = {quantity: own.copy() for quantity, own in tracks.estimates["fit"].values.items()}
    values["q"][0, 0] = values["eta"][0, 0] = np.nan
    rows = by_measure(compare(tracks.with_estimate("fit", Estimate(tracks.particle, values))))
    assert rows["q", "accuracy"]["fit"].value == 1 - 1 / tracks.particle.size
    assert math.isnan(rows["eta", "sigma68"]["fit"].value)
    assert math.isfinite(rows["eta", "sigma68"][MODEL].value)


def test_only_what_all_have_is_compared(tracks: Tracks) -> None:
    rows = compare(tracks.with_estimate("fit", only(tracks.estimates["fit"].values, "eta")))
    assert {row.quantity for row in rows} == {"eta"}
    assert "to_reference" not in {row.measure for row in rows}


def test_momentum_stands_for_what_has_no_charge(tracks: Tracks) -> None:
    fit = only(tracks.estimates["fit"].values, "pt")
    rows = by_measure(compare(tracks.with_estimate("fit", fit)))
    relative = (fit.values["pt"] - tracks.true["pt"]) / tracks.true["pt"]
    assert rows["pt", "sigma68"]["fit"].value == pytest.approx(residuals.sigma68(relative))


def test_bins_hold_their_tracks(tracks: Tracks) -> None:
    edges = [1.0, 10.0, 60.0, 70.0]
    bins = compare_in_bins(tracks, "pt", edges, "fit")
    pt = tracks.true["pt"]
    assert bins.tracks == [int(((pt >= low) & (pt < high)).sum()) for low, high in itertools.pairwise(edges)]
    inside = compare(tracks, "fit", (pt >= 10) & (pt < 60))
    assert bins.rows[1] == inside
    few = tracks.select(np.arange(comparison.LEAST_TRACKS // 2))
    few = dataclasses.replace(few, particle=few.particle & (np.arange(few.particle.size) > 0).reshape(-1, 2))
    assert compare_in_bins(few, "eta", [0.0, 3.0]).rows == [[]]
    forward = compare_in_bins(tracks, "eta", [1.0, 3.0])
    assert forward.tracks == [int((np.abs(tracks.true["eta"]) > 1).sum())]
    assert bins.column("eta", "rms", "fit")[1] == by_measure(inside)["eta", "rms"]["fit"]
    assert bins.column("eta", "to_reference", "fit") == [None] * 3


def test_edges_cover_the_values() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        pt = np.exp(rng.normal(2, 2, 5))
        edges = momentum_edges(pt)
        assert edges[0] <= pt.min()
        assert pt.max() <= edges[-1]
        assert (np.diff(edges) > 0).all()
        assert edges[1] > pt.min()
    np.testing.assert_array_equal(momentum_edges([10.0]), [10, 15])
    np.testing.assert_allclose(momentum_edges([0.5, 1.0]), [0.5, 0.7, 1.0])
    np.testing.assert_allclose(momentum_edges([1.0, 100.0])[[0, -1]], [1, 100])


def test_bins_of_eta_start_at_0() -> None:
    np.testing.assert_allclose(eta_edges([-2.7, 0.1]), 0.3 * np.arange(10))
    np.testing.assert_allclose(eta_edges([0.0]), [0, 0.3])
    np.testing.assert_array_equal(bin_numbers([-0.1, 0.0, 0.3, 0.6, np.nan], [0, 0.3, 0.6]), [-1, 0, 1, 1, -1])


def shown(*tables: object) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(*tables, sep="\n")
    return " ".join(console.export_text().split())


def test_tables_name_what_they_show(tracks: Tracks) -> None:
    text = shown(comparison_table(compare(tracks, "fit"), "3 of 9 particles", "fit"))
    for part in (
        "3 of 9 particles",
        "q / pT, relative",
        "sigma68 [rad]",
        "residual / bound",
        "sigma68 / fit",
        "charge",
    ):
        assert part in text
    bins = compare_in_bins(tracks, "pt", [1, 10, 20, 99, 100])
    text = shown(*bins_tables(bins, "mine", "pT", MODEL, "fit"))
    for part in ("10 to 20", "99 to 100", "charge:", "accuracy"):
        assert part in text
    assert "…" not in text
    wrong = bins.column("q", "accuracy", MODEL)[1]
    assert f"{100 * wrong.value:.1f}"[:4] in text


def test_heading_says_what_is_not_found() -> None:
    assert title(3, 9, {"model": 4, "true hits": 0, "fit": 2}) == "3 of 9 particles; not found: 4 by model, 2 by fit"
    assert title(9, 9, {"model": 0}) == "9 of 9 particles"


def test_json_holds_null_for_what_is_undefined(tracks: Tracks) -> None:
    rows = [*compare(tracks), Row("validity", "efficiency", {MODEL: Number(math.nan, math.nan, math.nan)})]
    bins = {"eta": compare_in_bins(tracks, "eta", [0, 1, 3])}
    stored = json.loads(json.dumps(as_json(rows, bins, COUNTS), allow_nan=False))
    assert stored["counts"] == COUNTS
    assert stored["all"]["validity"]["efficiency"][MODEL] == {"value": None, "low": None, "high": None}
    assert stored["all"]["eta"]["rms"][MODEL]["value"] == by_measure(rows)["eta", "rms"][MODEL].value
    assert [part["tracks"] for part in stored["bins"]["eta"]] == bins["eta"].tracks


@pytest.mark.parametrize("against", ["pt", "eta"])
def test_plots_show_values_and_ratios(tracks: Tracks, against: str) -> None:
    edges = {"pt": [1, 10, 100, 1000], "eta": [0, 1, 2, 3]}[against]  # nothing above 100 GeV
    bins = compare_in_bins(tracks, against, edges, "fit")
    figure = plot_resolution(bins, against, "eta", "mine/test", "fit")
    assert isinstance(figure, Figure)
    upper, lower = figure.axes

    def values(measure: str, name: str) -> list[float]:
        return [number.value for number in bins.column("eta", measure, name) if number]

    for name, container in zip(tracks.measured, upper.containers, strict=True):
        np.testing.assert_array_equal(container.lines[0].get_ydata(), values("sigma68", name))
    np.testing.assert_array_equal(lower.containers[0].lines[0].get_ydata(), values("to_bound", MODEL))
    (steps,) = upper.patches
    np.testing.assert_array_equal(steps.get_data().values[: len(values("sigma68", BOUND))], values("sigma68", BOUND))
    assert lower.get_ylabel() == "Residual / bound"
    assert upper.texts[0].get_text() == "mine/test"
    upper, lower = plot_resolution(bins, against, "phi", "mine/test", "fit").axes
    assert "rad" in upper.get_ylabel()
    assert lower.get_ylabel() == "Ratio to fit"


def test_plot_without_bound_and_reference_has_one_panel(tracks: Tracks) -> None:
    alone = dataclasses.replace(tracks, estimates=tracks.measured)
    assert len(plot_resolution(compare_in_bins(alone, "eta", [0, 3]), "eta", "eta", "mine/test").axes) == 1


def test_fractions_are_drawn_with_their_intervals(tracks: Tracks) -> None:
    bins = compare_in_bins(tracks, "eta", [0, 1, 3])
    (axes,) = plot_fraction(bins, "eta", "charge", "mine/test", "fit").axes
    points = axes.containers[0]
    accuracy = bins.column("q", "accuracy", MODEL)
    np.testing.assert_allclose(points.lines[0].get_ydata(), [1 - number.value for number in accuracy])
    spans = np.array([segment[:, 1] for segment in points.lines[2][1].get_segments()])
    np.testing.assert_allclose(spans, [[1 - number.high, 1 - number.low] for number in accuracy])
    rows = [[Row("validity", "fake_rate", {MODEL: Number(0.1, 0.05, 0.2)})]] * 2
    (axes,) = plot_fraction(Bins(bins.edges, [1, 1], rows), "eta", "validity_fake_rate", "mine/test").axes
    assert axes.get_xlabel().startswith("Estimated")


def test_quantities_follow_from_each_other() -> None:
    whole = complete({"pt": [20.0, 5.0], "q": [1.0, -1.0]})
    np.testing.assert_allclose(whole["qpt"], [0.05, -0.2])
    again = complete({"qpt": whole["qpt"]})
    np.testing.assert_allclose(again["pt"], [20, 5])
    np.testing.assert_array_equal(again["q"], [1, -1])
    both = complete({"pt": [20.0], "qpt": [-0.04]})  # of a model that regresses both
    np.testing.assert_array_equal(both["pt"], [20])
    np.testing.assert_array_equal(both["q"], [-1])


def test_two_fields_of_a_quantity_are_refused() -> None:
    with pytest.raises(ValueError, match="several fields are called pt: a_pt, b_pt"):
        fields_by_quantity(["a_pt", "b_pt"])


def test_a_report_says_which_argument_tells_two_fields_apart() -> None:
    given = dict.fromkeys(("pt", "eta", "phi", "q"))
    for names, advice in (("a_pt, b_pt", "set pt"), ("a_q, b_q", "set charge"), ("a_qpt, qpt", "set charge")):
        with pytest.raises(ValueError, match=f"{names}; {advice}$"):
            parameter_fields(names.split(", "), given)
    assert parameter_fields(["a_pt", "b_pt", "a_q", "a_qpt"], given | {"pt": "b_pt"}) == {"pt": "b_pt", "q": "a_q"}
