"""Efficiency, fakes, duplicates and hits against counting one track after the other."""

import numpy as np
import pytest

from hitpool.evaluation.comparison import Row
from hitpool.evaluation.finding.found import Found
from hitpool.evaluation.finding.measures import measure, measure_in_bins
from hitpool.evaluation.finding.particles import Particles


def random_found(particles: Particles, seed: int = 3) -> Found:
    """Tracks of most particles with parameters near theirs, some twice, and fakes anywhere."""
    random = np.random.default_rng(seed)
    best = np.flatnonzero(random.random(len(particles)) < 0.8)
    again = random.choice(best, len(best) // 10, replace=False)
    fakes = len(particles) // 12
    particle = np.concatenate([best, again, np.full(fakes, -1)])
    event = np.append(particles.event[particle[:-fakes]], random.integers(len(particles.events), size=fakes))
    duplicate = np.repeat([False, True, False], [len(best), len(again), fakes])
    own = np.maximum(particle, 0)
    shared = np.where(particle >= 0, particles.hits[own] - random.integers(0, 3, len(own)), 0)
    values = {
        name: particles.values[name][own] * random.normal(1, 0.1, len(own)) for name in ("pt", "eta", "phi", "z0")
    }
    order = random.permutation(len(own))
    columns = (event, shared + random.integers(0, 3, len(own)), particle, shared, duplicate)
    return Found(*(column[order] for column in columns), {name: own[order] for name, own in values.items()}, {})


def value(rows: list[Row], measure: str, name: str = "model") -> float:
    (row,) = [row for row in rows if row.measure == measure]
    return row.numbers[name].value


def test_measures_are_those_of_counting(busy) -> None:
    particles = busy(40)
    found = random_found(particles)
    rows = measure(particles, {"model": found})
    assert [row.quantity for row in rows] == ["finding"] * 5
    assert value(rows, "efficiency") == pytest.approx(len(set(found.particle) - {-1}) / len(particles))
    assert value(rows, "fake_rate") == pytest.approx(sum(found.particle < 0) / len(found.event))
    assert value(rows, "duplicate_rate") == pytest.approx(sum(found.duplicate) / len(found.event))
    best = [i for i in range(len(found.event)) if found.particle[i] >= 0 and not found.duplicate[i]]
    shared = sum(found.shared[i] for i in best)
    assert value(rows, "hit_purity") == pytest.approx(shared / sum(found.hits[i] for i in best))
    assert value(rows, "hit_efficiency") == pytest.approx(shared / sum(particles.hits[found.particle[i]] for i in best))


def test_bins_are_of_the_truth_or_of_the_track(busy) -> None:
    particles = busy(40)
    found = random_found(particles)
    in_bins = measure_in_bins(particles, {"model": found, "other": random_found(particles, 4)})
    assert list(in_bins) == ["pt", "eta", "abs_z0", "vertex_distance", "density", "delta_r", "hits"]
    for variable, bins in in_bins.items():
        assert bins.unit == {"pt": "GeV", "abs_z0": "mm", "vertex_distance": "mm"}.get(variable, "")
        assert bins.totals["particles"][1] == sum(bins.tracks)
        assert 0.97 * len(particles) < sum(bins.tracks) <= len(particles)
    values = {
        "pt": (particles.values["pt"], found.values["pt"]),
        "eta": (abs(particles.values["eta"]), abs(found.values["eta"])),
        "hits": (particles.hits, found.hits),
    }
    is_found = np.isin(np.arange(len(particles)), found.particle)
    for variable, (true, estimated) in values.items():
        bins = in_bins[variable]
        for i, (low, high) in enumerate(zip(bins.edges[:-1], bins.edges[1:], strict=True)):
            chosen = (true >= low) & (true < high)
            tracks = (estimated >= low) & ((estimated < high) | ((i == len(bins.tracks) - 1) & (estimated == high)))
            assert bins.tracks[i] == chosen.sum()
            if chosen.any() and tracks.any():
                assert value(bins.rows[i], "efficiency") == pytest.approx(is_found[chosen].mean())
                assert value(bins.rows[i], "fake_rate") == pytest.approx((found.particle[tracks] < 0).mean())
                assert value(bins.rows[i], "duplicate_rate") == pytest.approx(found.duplicate[tracks].mean())


def test_who_does_not_state_a_variable_has_no_fakes_against_it(busy) -> None:
    particles = busy(10)
    found = random_found(particles)
    silent = Found(*(getattr(found, name) for name in ("event", "hits", "particle", "shared", "duplicate")), {}, {})
    bins = measure_in_bins(particles, {"model": found, "silent": silent})["pt"]
    rows = {row.measure: row.numbers for row in bins.rows[5]}
    assert set(rows["efficiency"]) == {"model", "silent"}
    assert set(rows["fake_rate"]) == set(rows["duplicate_rate"]) == {"model"}


def test_nothing_found(busy) -> None:
    particles, empty = busy(5), np.empty(0, int)
    nothing = Found(empty, empty, empty, empty, empty.astype(bool), {}, {})
    rows = measure(particles, {"model": nothing})
    assert value(rows, "efficiency") == 0
    assert all(np.isnan(value(rows, name)) for name in ("fake_rate", "duplicate_rate", "hit_purity", "hit_efficiency"))
    assert "pt" in measure_in_bins(particles, {"model": nothing})


def test_errors_are_the_scatter_of_repeated_experiments(busy) -> None:
    particles = busy(30, most=20)
    repeated = [measure(particles, {"model": random_found(particles, seed)}) for seed in range(60)]
    numbers = [rows[0].numbers["model"] for rows in repeated]
    scatter = np.std([number.value for number in numbers], ddof=1)
    assert np.mean([number.error for number in numbers]) == pytest.approx(scatter, rel=0.3)
