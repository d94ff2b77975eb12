import numpy as np
import pytest
from scipy import stats

from hitpool.simulation import Settings, muon_layers, muon_signals, sample_muons
from hitpool.simulation.background import (
    HITS_PER_SEGMENT,
    RAW_SHARES,
    SHARES,
    background_signals,
    neighbour_signals,
    segment_signals,
    uncorrelated_signals,
)
from hitpool.simulation.geometry import MDT, STATIONS, TGC_GROUPS

LAYERS = muon_layers()
EVENTS = 4000


@pytest.fixture(scope="module")
def true():
    rng = np.random.default_rng(0)
    return muon_signals(rng, sample_muons(rng, EVENTS, Settings()), LAYERS, Settings())


@pytest.mark.parametrize("shares", [SHARES, RAW_SHARES])
def test_uncorrelated_hits_have_their_shares_and_distributions(shares):
    counts = np.array([0, 3, 60_000, 1, 0])
    hits = uncorrelated_signals(np.random.default_rng(1), counts, LAYERS, shares)
    np.testing.assert_array_equal(np.bincount(hits.event, minlength=5), counts)
    technology = LAYERS.technology[hits.row]
    for code, share in shares.items():
        assert np.mean(technology == code) == pytest.approx(share / sum(shares.values()), abs=0.01)
    drift = technology == MDT
    assert stats.kstest(hits.radius[drift], stats.uniform(0, 0.0146).cdf).pvalue > 1e-3
    assert np.all(hits.link == -1)
    assert not hits.in_time.any()
    barrel = LAYERS.code[hits.row] == 2
    assert stats.kstest(hits.coordinate[barrel & drift], stats.uniform(0.2, 9.4).cdf).pvalue > 1e-3
    endcap = hits.coordinate[LAYERS.code[hits.row] == 17]
    assert stats.kstest(endcap, lambda rho: np.log(rho / 1.75) / np.log(11.6 / 1.75)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(hits.sector[LAYERS.code[hits.row] == 2], minlength=8)).pvalue > 1e-3
    assert np.all(np.abs(hits.tangential) <= LAYERS.half_length(hits.row, hits.coordinate))
    assert abs(hits.side.mean()) < 0.02


def test_neighbours_lie_one_to_three_channels_from_a_true_hit_of_their_event(true):
    counts = np.full(EVENTS, 3)
    hits = neighbour_signals(np.random.default_rng(2), counts, true, LAYERS)
    assert 0.97 * counts.sum() < hits.row.size <= counts.sum()
    place = lambda s, channel: list(zip(s.event, s.row, s.sector, s.side, channel, strict=True))  # noqa: E731
    fired = set(place(true, LAYERS.channel(true.row, true.coordinate)))
    channel = LAYERS.channel(hits.row, hits.coordinate)
    near = np.zeros(hits.row.size, dtype=bool)
    for step in (-3, -2, -1, 1, 2, 3):
        near |= np.array([p in fired for p in place(hits, channel + step)])
    assert near.all()
    assert np.all((channel >= 0) & (channel < LAYERS.channels[hits.row]))
    drift = LAYERS.technology[hits.row] == MDT
    assert stats.kstest(hits.radius[drift], stats.uniform(0, 0.0146).cdf).pvalue > 1e-3


def test_events_without_true_hits_get_no_neighbours(true):
    lonely = neighbour_signals(np.random.default_rng(2), np.full(3, 5), true.take(true.event == 1), LAYERS)
    assert set(lonely.event) == {1}


def test_segments_cross_one_station_on_a_straight_line():
    counts = np.full(3000, 1)
    hits = segment_signals(np.random.default_rng(3), counts, LAYERS)
    assert hits.row.size / counts.sum() == pytest.approx(HITS_PER_SEGMENT, rel=0.04)
    group = LAYERS.group[hits.row]
    stations = np.unique(np.stack([hits.event, group])[:, ~np.isin(group, TGC_GROUPS)], axis=1)[0]
    assert np.unique(stations).size == stations.size
    with_tgc = np.unique(hits.event[np.isin(group, TGC_GROUPS)])
    endcap_middle = np.unique(hits.event[np.isin(LAYERS.code[hits.row], (17, 18))])
    assert np.mean(np.isin(with_tgc, endcap_middle)) > 0.9  # all MDT hits can be lost, rarely
    for event in range(200):
        mine = hits.take((hits.event == event) & (LAYERS.technology[hits.row] == MDT))
        depth = LAYERS.position[mine.row]
        if np.unique(depth).size < 4:
            continue
        fit = np.polyfit(depth, mine.coordinate, 1)
        assert np.abs(np.polyval(fit, depth) - mine.coordinate).max() < 0.09


def test_segments_point_to_the_vertex_within_their_spread():
    hits = segment_signals(np.random.default_rng(4), np.full(3000, 1), LAYERS)
    bols = hits.take(LAYERS.code[hits.row] == 5)
    station = STATIONS[5]
    turn = []
    for event in np.unique(bols.event):
        mine = bols.take((bols.event == event) & (LAYERS.technology[bols.row] == MDT))
        if mine.row.size > 4:
            slope = np.polyfit(LAYERS.position[mine.row], mine.coordinate, 1)[0]
            turn.append(np.arctan(slope) - np.arctan2(mine.coordinate.mean(), station.depth))
    assert np.std(turn) == pytest.approx(0.15, rel=0.25)
    assert abs(np.mean(turn)) < 0.04


@pytest.mark.parametrize(("background", "mean"), [("clean", 13), ("normal", 20), ("dense", 35)])
def test_amount_of_background(true, background, mean):
    settings = Settings(background=background)
    hits = background_signals(np.random.default_rng(5), true, EVENTS, LAYERS, settings)
    number = np.bincount(hits.event, minlength=EVENTS)
    spread = np.sqrt(mean + mean**2 / 1.5)
    assert number.mean() == pytest.approx(mean, abs=0.02 * mean + 4 * spread / np.sqrt(EVENTS))
    assert number.std() == pytest.approx(spread, rel=0.12)
    late = np.bincount(hits.event[~hits.in_time], minlength=EVENTS)
    assert late.sum() / number.sum() == pytest.approx(0.45, abs=0.02)


def test_raw_background():
    rng = np.random.default_rng(6)
    settings = Settings(background="raw")
    muons = sample_muons(rng, 30, settings)
    signals = muon_signals(rng, muons, LAYERS, settings)
    hits = background_signals(rng, signals, 30, LAYERS, settings)
    assert hits.row.size / 30 == pytest.approx(6830, rel=0.01)
    assert np.mean(LAYERS.technology[hits.row] == MDT) == pytest.approx(0.584, abs=0.01)
