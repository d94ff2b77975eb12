import itertools
import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import binomtest

from hitpool.evaluation import comparison, residuals
from hitpool.evaluation.comparison import MODEL, Pairs, compare, compare_in_bins
from hitpool.evaluation.comparison_plots import plot_resolution
from hitpool.evaluation.quantities import complete, fields_by_quantity

COUNTS = {"particles": 9, "not_found": 4, "without_reference": 2, "compared": 3}


def make_pairs(size: int = 4000, per_event: int = 2, worse: float = 2.0, seed: int = 0) -> Pairs:
    """The model is worse than the reference by a factor, and has every tenth charge wrong."""
    rng = np.random.default_rng(seed)
    true = {"pt": np.exp(rng.uniform(0, math.log(100), size)), "eta": rng.uniform(-2.4, 2.4, size)}
    true |= {"phi": rng.uniform(-np.pi, np.pi, size), "q": rng.choice([-1.0, 1.0], size)}

    def measure(error: float) -> dict[str, np.ndarray]:
        noise = rng.normal(0, error, (3, size))
        phi = np.mod(true["phi"] + noise[2] + np.pi, 2 * np.pi) - np.pi
        return {"pt": true["pt"] * (1 + noise[0]), "eta": true["eta"] + noise[1], "phi": phi, "q": true["q"]}

    model, reference = measure(0.01 * worse), measure(0.01)
    model["q"] = np.where(np.arange(size) % 10 == 0, -1, 1) * true["q"]
    estimates = {MODEL: model, "fit": reference}
    return Pairs(
        np.arange(size) // per_event, complete(true), {name: complete(values) for name, values in estimates.items()}
    )


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return make_pairs()


def test_values_are_those_of_the_definitions(pairs: Pairs) -> None:
    rows = {row.quantity: row for row in compare(pairs)}
    assert list(rows) == ["qpt", "pt", "eta", "phi", "q"]
    true = pairs.true
    for name, own in pairs.estimates.items():
        expected = {
            "qpt": residuals.sigma68(own["q"] / own["pt"] - true["q"] / true["pt"]),
            "pt": residuals.sigma68((own["pt"] - true["pt"]) / true["pt"]),
            "eta": residuals.sigma68(own["eta"] - true["eta"]),
            "phi": residuals.sigma68(residuals.periodic_residual(own["phi"], true["phi"])),
            "q": np.mean(own["q"] == true["q"]),
        }
        for quantity, value in expected.items():
            assert rows[quantity].numbers[name].value == pytest.approx(value, rel=1e-9)
    assert rows["q"].numbers[MODEL].value == pytest.approx(0.9)
    assert rows["eta"].ratios[MODEL].value == pytest.approx(2, abs=5 * rows["eta"].ratios[MODEL].error)
    assert set(rows["eta"].ratios) == {MODEL}


def test_errors_are_the_scatter_of_repeated_experiments() -> None:
    repeated = [compare(make_pairs(600, seed=seed)) for seed in range(40)]
    for k in (2, 3):  # eta and phi
        for pick in (lambda row: row.numbers[MODEL], lambda row: row.ratios[MODEL]):
            numbers = [pick(rows[k]) for rows in repeated]
            scatter = np.std([number.value for number in numbers], ddof=1)
            assert np.mean([number.error for number in numbers]) == pytest.approx(scatter, rel=0.35)


def test_events_are_drawn_whole() -> None:
    # Four copies of every particle in an event carry no more information than one.
    single = make_pairs(500, per_event=1)
    copies = single.select(np.repeat(np.arange(500), 4))
    one, four = compare(single)[2], compare(copies)[2]
    assert four.numbers[MODEL].error == pytest.approx(one.numbers[MODEL].error, rel=0.3)


def test_equal_estimates_have_ratio_one(pairs: Pairs) -> None:
    same = Pairs(pairs.event, pairs.true, {MODEL: pairs.estimates["fit"], "fit": pairs.estimates["fit"]})
    *resolutions, charge = compare(same)
    for row in resolutions:
        assert (row.ratios[MODEL].value, row.ratios[MODEL].error) == (1.0, 0.0)
    limit = 1 - 0.15865 ** (1 / len(pairs))  # 0 of them differ
    assert charge.ratios[MODEL].value == 1.0
    assert charge.ratios[MODEL].error == pytest.approx(limit, rel=1e-4)
    assert charge.numbers[MODEL].high == 1.0
    assert charge.numbers[MODEL].low == pytest.approx(1 - limit, rel=1e-6)


def test_the_charge_has_a_binomial_interval(pairs: Pairs) -> None:
    number = compare(pairs)[-1].numbers[MODEL]
    expected = binomtest(400, 4000).proportion_ci(0.6827)
    assert 1 - number.high == pytest.approx(expected.low, abs=5e-4)  # the number of trials is that of a bootstrap
    assert 1 - number.low == pytest.approx(expected.high, abs=5e-4)


def test_only_what_all_have_is_compared(pairs: Pairs) -> None:
    fit = {"eta": pairs.estimates["fit"]["eta"]}
    some = Pairs(pairs.event, pairs.true, {MODEL: pairs.estimates[MODEL], "fit": fit})
    (row,) = compare(some)
    assert row.quantity == "eta"


def test_bins_hold_their_tracks(pairs: Pairs) -> None:
    edges = [1.0, 10.0, 60.0, 70.0]
    bins = compare_in_bins(pairs, "pt", edges)
    pt = pairs.true["pt"]
    assert bins.tracks == [int(((pt >= low) & (pt < high)).sum()) for low, high in itertools.pairwise(edges)]
    inside = pairs.select((pt >= 10) & (pt < 60))
    assert bins.rows[1] == compare(inside)
    few = pairs.select(np.flatnonzero(pt < 10)[: comparison.LEAST_TRACKS - 1])
    assert compare_in_bins(few, "pt", edges).rows == [[], [], []]


def test_edges_cover_the_values() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        pt = np.exp(rng.normal(2, 2, 5))
        edges = comparison.momentum_edges(pt)
        assert edges[0] <= pt.min()
        assert pt.max() <= edges[-1]
        assert (np.diff(edges) > 0).all()
        assert edges[1] > pt.min()
    np.testing.assert_array_equal(comparison.momentum_edges([10.0]), [10, 15])
    np.testing.assert_allclose(comparison.momentum_edges([0.5, 1.0]), [0.5, 0.7, 1.0])
    np.testing.assert_allclose(comparison.momentum_edges([1.0, 100.0])[[0, -1]], [1, 100])


def test_tables_name_what_they_show(pairs: Pairs) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(comparison.table(compare(pairs), COUNTS, "fit"))
    console.print(comparison.bins_table(compare_in_bins(pairs, "pt", [1, 10, 20, 99, 100]), "fit"))
    text = console.export_text()
    for part in ("q / pT [1/GeV]", "phi [rad]", "charge accuracy", "/ fit", "10 to 20", "99 to 100", "…"):
        assert (part in text) == (part != "…")
    assert "left out: 4 that the model did not find, 2 without" in " ".join(text.split())


def test_json_holds_null_for_what_is_undefined(pairs: Pairs) -> None:
    wrong = {name: {**own, "q": -pairs.true["q"]} for name, own in pairs.estimates.items()}
    rows = compare(Pairs(pairs.event, pairs.true, wrong))
    bins = {"eta": compare_in_bins(pairs, "eta", [-3, 0, 3])}
    stored = json.loads(json.dumps(comparison.as_json(rows, bins, COUNTS, "fit"), allow_nan=False))
    assert stored["counts"] == COUNTS
    assert stored["all"]["q"]["values"]["fit"]["value"] == 0.0
    assert stored["all"]["q"]["ratios_to_reference"][MODEL]["value"] is None
    assert stored["all"]["eta"]["values"][MODEL]["value"] == rows[2].numbers[MODEL].value
    assert [part["tracks"] for part in stored["bins"]["eta"]] == bins["eta"].tracks


@pytest.mark.parametrize("against", ["pt", "eta"])
def test_plots_show_values_and_ratios(pairs: Pairs, against: str) -> None:
    edges = {"pt": [1, 10, 100, 1000], "eta": [-3, -1, 0, 1, 3]}[against]  # nothing above 100 GeV
    bins = compare_in_bins(pairs, against, edges)
    figure = plot_resolution(bins, against, "phi", "mine/test")
    assert isinstance(figure, Figure)
    upper, lower = figure.axes
    filled = [row for rows in bins.rows for row in rows if row.quantity == "phi"]
    for name, container in zip(pairs.estimates, upper.containers, strict=True):
        np.testing.assert_array_equal(container.lines[0].get_ydata(), [row.numbers[name].value for row in filled])
    np.testing.assert_array_equal(lower.containers[0].lines[0].get_ydata(), [row.ratios[MODEL].value for row in filled])
    assert lower.get_ylabel() == "Ratio to fit"
    assert "rad" in upper.get_ylabel()
    assert upper.texts[0].get_text() == "mine/test"


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
