import numpy as np
import pytest

from hitpool.simulation import HIT_FEATURES, Settings, events, generate_events, muon_layers, muon_signals, sample_muons
from hitpool.simulation.geometry import MDT, STGC

COLUMN = {name.removeprefix("spacePoint_"): i for i, name in enumerate(HIT_FEATURES)}


def generate(count=400, seed=1, **settings):
    return generate_events(np.random.default_rng(seed), count, Settings(**settings))


@pytest.fixture(scope="module")
def some():
    return generate(1000, 11)


def per_event(batch):
    return np.split(batch.hits, np.cumsum(batch.num_hits)[:-1])


@pytest.mark.parametrize("count", [1, 7, 300])
def test_number_of_events_is_exact(count):
    batch = generate(count, 5)
    assert batch.num_hits.size == batch.num_tracks.size == count
    assert batch.hits.shape == (batch.num_hits.sum(), 20)
    assert batch.tracks.shape == (batch.num_tracks.sum(), 4)
    assert batch.hits.dtype == batch.tracks.dtype == np.float32


def test_every_track_has_three_hits_and_every_link_a_track(some):
    assert np.all(some.num_tracks >= 1)
    for hits, tracks in zip(per_event(some), some.num_tracks, strict=True):
        link = hits[:, COLUMN["truthLink"]].astype(int)
        assert set(link) <= set(range(-1, tracks))
        assert np.all(np.bincount(link[link >= 0], minlength=tracks) >= 3)


def test_hits_are_finite_and_drift_radii_in_the_tube(some):
    assert np.isfinite(some.hits).all()
    assert np.isfinite(some.tracks).all()
    radius = some.hits[:, COLUMN["driftR"]]
    assert radius.min() >= 0
    assert radius.max() <= np.float32(14.6)


def test_hits_are_ordered_by_channel_and_each_channel_gives_one(some):
    names = ("technology", "stationIndex", "stationPhi", "stationEta", "layer", "channel")
    for hits in per_event(some)[:300]:
        channels = [tuple(row) for row in hits[:, [COLUMN[n] for n in names]]]
        assert channels == sorted(set(channels))


def test_order_carries_no_truth(some):
    """Within one drift-tube layer the place of a hit among its neighbours does not tell whether it is true."""
    hits = some.hits[some.hits[:, COLUMN["technology"]] == MDT]
    same = np.all(
        np.diff(hits[:, [COLUMN[n] for n in ("stationIndex", "stationPhi", "stationEta", "layer")]], axis=0) == 0,
        axis=1,
    )
    true = hits[:, COLUMN["truthLink"]] >= 0
    first_true, second_true = np.sum(same & true[:-1] & ~true[1:]), np.sum(same & ~true[:-1] & true[1:])
    total = first_true + second_true
    assert total > 300
    assert abs(first_true - second_true) < 4 * np.sqrt(total)


def test_tracks_keep_their_parameters(some):
    assert np.all((some.tracks[:, 0] >= 5) & (some.tracks[:, 0] <= 200))
    assert np.all(np.abs(some.tracks[:, 1]) <= 2.7)
    assert set(some.tracks[:, 3]) == {-1, 1}
    # linked hits lie in the direction of their track
    event = np.repeat(np.arange(some.num_hits.size), some.num_hits)
    link = some.hits[:, COLUMN["truthLink"]].astype(int)
    first = np.cumsum(some.num_tracks) - some.num_tracks
    phi = some.tracks[(first[event] + link)[link >= 0], 2]
    middle = [
        some.hits[link >= 0, COLUMN[f"globEdgeHigh{a}"]] + some.hits[link >= 0, COLUMN[f"globEdgeLow{a}"]] for a in "YX"
    ]
    away = np.angle(np.exp(1j * (np.arctan2(*middle) - phi)))
    assert np.quantile(np.abs(away), 0.99) < 0.35


def test_same_generator_same_events_and_other_seed_other_events():
    one, again, other = generate(50, 3), generate(50, 3), generate(50, 4)
    for name in vars(one):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.tracks[:10], other.tracks[:10])


def test_cap_removes_background_first():
    event = np.repeat([0, 1], [700, 20])
    background = np.arange(720) % 7 != 0
    kept = events._within_cap(np.random.default_rng(0), event, background, 2, 600)
    np.testing.assert_array_equal(np.bincount(event[kept]), [600, 20])
    assert kept[~background].all()
    kept = events._within_cap(np.random.default_rng(0), event, background, 2, 50)
    np.testing.assert_array_equal(np.bincount(event[kept]), [50, 20])
    assert not kept[(event == 0) & background].any()


def test_a_small_cap_holds():
    assert generate(200, 2, max_hits=40).num_hits.max() == 40


def test_two_hits_in_one_channel_leave_the_true_one_with_the_smaller_radius():
    hits = np.zeros((4, 20))
    hits[:, COLUMN["driftR"]] = [1.0, 5.0, 3.0, 9.0]
    hits[:, COLUMN["truthLink"]] = [-1, 0, 1, -1]
    hits[:, COLUMN["stationEta"]] = [-2, -2, -2, 2]
    np.testing.assert_array_equal(events._one_hit_per_channel(np.zeros(4, int), hits), [2, 3])


def test_inner_wheel_is_linked_in_all_hits_of_a_track_or_in_none():
    rng = np.random.default_rng(4)
    layers = muon_layers()
    muons = sample_muons(rng, 3000, Settings())
    inside = np.flatnonzero((np.abs(muons.eta) > 1.5) & (np.abs(muons.eta) < 2.3))
    share = {}
    for preset in ("full", "sample"):
        signals = muon_signals(rng, muons, layers, Settings(preset=preset))
        wheel = layers.technology[signals.row] >= STGC
        number = np.bincount(signals.link[wheel & (signals.link >= 0)], minlength=muons.pt.size)[inside]
        share[preset] = np.mean(number > 0)
        assert number[number > 0].mean() > 6.5
        hidden = np.sum(wheel & (signals.link < 0)) / inside.size
        assert hidden == 0 if preset == "full" else 0.3 < hidden < 2.0
    assert share["full"] > 0.98
    assert share["sample"] == pytest.approx(0.02, abs=0.018)


def test_alignment_error_moves_the_drift_radii():
    """Displaced by 10 mm a station sees other tubes; at 0 nothing changes."""
    rng = lambda: np.random.default_rng(9)  # noqa: E731
    layers = muon_layers()
    muons = sample_muons(rng(), 300, Settings())
    exact = muon_signals(rng(), muons, layers, Settings())
    tiny = muon_signals(rng(), muons, layers, Settings(align=1e-9))
    assert exact.row.size > 5000
    moved = muon_signals(rng(), muons, layers, Settings(align=0.035))
    assert moved.row.size == pytest.approx(exact.row.size, rel=0.02)
    assert tiny.row.size == pytest.approx(exact.row.size, rel=0.02)


def test_raw_events_keep_every_hit():
    batch = generate(20, 1, background="raw")
    assert batch.num_hits.mean() == pytest.approx(6870, rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "half"}, "preset: expected one of full, sample, got 'half'"),
        ({"spectrum": "flat"}, "spectrum: expected one of mixture, falling, loguniform, fixed, got 'flat'"),
        ({"background": "much"}, "background: expected one of clean, normal, dense, raw, got 'much'"),
        ({"pt": 1.0}, "pt: expected a finite value of at least 5 GeV, got 1.0"),
        ({"pt": float("nan")}, "pt: expected a finite value"),
        ({"align": -1.0}, "align: expected a finite length of at least 0 mm, got -1.0"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)
