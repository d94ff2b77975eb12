from dataclasses import asdict, replace

import numpy as np
import pytest

from hitpool.evaluation import bound
from hitpool.evaluation.tracks import Tracks
from hitpool.simulation import Settings, cramer_rao_bound, sample_muons
from hitpool.simulation.generate import GENERATOR_VERSION


@pytest.fixture
def small_table(monkeypatch):
    monkeypatch.setattr(bound, "MOMENTA", (14.0, 20.0, 30.0, 50.0))
    monkeypatch.setattr(bound, "ETAS", tuple(np.arange(0.25, 0.9, 0.1)))
    bound._table.cache_clear()
    yield
    bound._table.cache_clear()


def test_table_agrees_with_the_bound_of_each_muon(small_table):
    settings = Settings(pt_min=14.0, pt_max=50.0)
    muons = sample_muons(np.random.default_rng(2), 400, settings)
    muons = muons.take((np.abs(muons.eta) > 0.25) & (np.abs(muons.eta) < 0.85))
    muons = replace(muons, z0=np.zeros_like(muons.z0)).take(slice(80))
    exact = cramer_rao_bound(muons, settings)
    table = bound.resolution_bound(muons.pt, muons.eta, muons.phi, muons.charge, settings)
    for name, values in vars(table).items():
        deviation = np.abs(np.log(values / getattr(exact, name)))
        assert np.quantile(deviation, 0.68) < 0.04, name
        assert np.quantile(deviation, 0.95) < 0.15, name


def test_border_of_the_table_counts_outside(small_table):
    inside, outside = (bound.resolution_bound([pt], [eta], [0.1], [1]) for pt, eta in ((50.0, 0.25), (3000.0, 0.01)))
    assert inside.qpt == pytest.approx(outside.qpt)


def test_kind_of_the_azimuth_is_that_behind_the_solenoid():
    azimuth = np.array([0.0, 0.2, 0.23, 0.3, np.pi / 8, np.pi / 4 - 0.23, np.pi / 4, -0.23, 3 * np.pi / 4 + 0.3])
    kinds = np.searchsorted(bound.BORDERS, bound._from_large_sector(azimuth))
    np.testing.assert_array_equal(kinds, [0, 0, 1, 2, 2, 1, 0, 1, 2])


def test_settings_have_tables_of_their_own(small_table):
    """Beyond |eta| = 1.3 the inner wheel matters; the small table ends before, where both presets are the same."""
    full, sample = (bound.resolution_bound([20.0], [0.5], [0.1], [1], Settings(preset=p)) for p in ("full", "sample"))
    assert full.qpt == pytest.approx(sample.qpt, rel=1e-3)
    aligned = bound.resolution_bound([50.0], [0.5], [0.1], [1], Settings(align=0.5))
    assert aligned.qpt > bound.resolution_bound([50.0], [0.5], [0.1], [1], Settings()).qpt


def test_only_data_of_the_present_generator_have_a_bound(small_table):
    true = {"pt": [[20.0, np.nan]], "eta": [[0.5, np.nan]], "phi": [[0.1, np.nan]], "q": [[-1.0, np.nan]]}
    particle = np.array([[True, False]])
    tracks = Tracks(np.arange(1), particle, {name: np.array(values) for name, values in true.items()}, {})
    generator = {"version": GENERATOR_VERSION, "seed": 1, "split": 0, "settings": asdict(Settings(align=0.1))}
    own = bound.bound_of_data_set(generator, tracks)
    expected = bound.resolution_bound([20.0], [0.5], [0.1], [-1.0], Settings(align=0.1)).qpt
    np.testing.assert_array_equal(own.errors["qpt"], [[*expected, np.nan]])
    np.testing.assert_array_equal(own.valid, particle)
    for other in (
        None,
        "acts",
        {"version": 1, "acts": "48"},
        generator | {"version": -1},
        generator | {"settings": {}},
    ):
        assert bound.bound_of_data_set(other, tracks) is None
    assert bound.bound_of_data_set(generator, replace(tracks, true={"eta": tracks.true["eta"]})) is None
