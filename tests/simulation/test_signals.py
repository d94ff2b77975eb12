import numpy as np
import pytest

from hitpool.simulation import (
    HIT_FEATURES,
    Line,
    Trajectory,
    crossing_signals,
    drift_resolution,
    drift_time,
    layer_crossings,
    muon_layers,
    read_out,
)
from hitpool.simulation.geometry import MDT, MM, RPC, STGC, TGC
from hitpool.simulation.signals import Signals

LAYERS = muon_layers()
SIZE = 6000


@pytest.fixture(scope="module")
def tracks():
    """Straight tracks from the origin: their crossings and directions."""
    rng = np.random.default_rng(1)
    phi, eta = rng.uniform(-np.pi, np.pi, SIZE), rng.uniform(-2.7, 2.7, SIZE)
    dip = np.arctan(np.sinh(eta))
    path = np.array([0.0, 30.0])
    track = Trajectory(
        np.cos(dip)[:, None] * path,
        np.sin(dip)[:, None] * path,
        np.repeat(dip[:, None], 2, axis=1),
        Line(np.zeros(SIZE), np.zeros(SIZE), phi),
    )
    direction = np.stack([np.cos(dip) * np.cos(phi), np.cos(dip) * np.sin(phi), np.sin(dip)], axis=1)
    return layer_crossings(track, LAYERS), direction


@pytest.fixture(scope="module")
def signals(tracks):
    number = np.arange(SIZE)
    return crossing_signals(np.random.default_rng(2), tracks[0], LAYERS, number, number, np.ones(6))


@pytest.fixture(scope="module")
def hits(signals):
    values = read_out(np.random.default_rng(3), signals, LAYERS)
    return {name.removeprefix("spacePoint_"): values[:, i] for i, name in enumerate(HIT_FEATURES)}


def edges(hits):
    return (np.stack([hits[f"globEdge{end}{axis}"] for axis in "XYZ"], axis=1) / 1e3 for end in ("Low", "High"))


def test_drift_radius_is_the_distance_between_track_and_wire(tracks, signals, hits):
    low, high = edges(hits)
    drift = hits["technology"] == MDT
    direction, wire = tracks[1][signals.link], high - low
    normal = np.cross(direction, wire)
    distance = np.abs(np.sum(low * normal, axis=1)) / np.linalg.norm(normal, axis=1)
    assert np.all(signals.radius[drift] <= 0.0146)
    assert np.all(signals.radius[~drift] == 0.0)
    shortened = signals.radius[drift] < distance[drift] - 1e-9
    assert shortened.mean() == pytest.approx(0.04, abs=0.005)
    np.testing.assert_allclose(signals.radius[drift][~shortened], distance[drift][~shortened], atol=1e-9)
    assert np.all(signals.radius[drift] <= distance[drift] + 1e-9)


def test_dead_walls_and_second_tubes(tracks, signals):
    crossings = tracks[0]
    drift = LAYERS.technology == MDT
    safe = crossings.inside & drift & (crossings.coordinate > LAYERS.low + 0.1) & (
        crossings.coordinate < LAYERS.high - 0.1
    )  # fmt: skip
    fired = np.zeros((SIZE, len(LAYERS)), dtype=int)
    np.add.at(fired, (signals.link, signals.row), 1)
    assert fired.max() == 2
    reach = 0.0146 / crossings.cos_alpha
    # a layer is missed only in the wall between tubes: 1 - 2 reach / pitch of the coordinates
    missed = np.mean(np.maximum(1 - 2 * reach / 0.030035, 0.0)[safe])
    assert np.mean(fired[safe] == 0) == pytest.approx(missed, rel=0.1)
    # a second tube lies on the track where the reaches overlap; it is kept with probability 0.2
    overlap = np.clip(2 * reach / 0.030035 - 1, 0.0, 1.0)
    assert np.mean(fired[safe] == 2) == pytest.approx(0.2 * np.mean(overlap[safe]), rel=0.05)


@pytest.mark.parametrize("technology", [MDT, RPC, TGC, STGC, MM])
def test_efficiency(tracks, signals, technology):
    number = np.arange(SIZE)
    half = crossing_signals(np.random.default_rng(7), tracks[0], LAYERS, number, number, np.full(6, 0.5))
    full, now = (np.sum(LAYERS.technology[s.row] == technology) for s in (signals, half))
    if technology == MDT:  # the next tube may step in for a silent nearest one
        assert 0.5 < now / full < 0.6
    else:
        assert now / full == pytest.approx(0.5, abs=0.02)


def test_measured_radius_time_and_variance(signals, hits):
    drift = hits["technology"] == MDT
    radius, true = hits["driftR"][drift], signals.radius[drift] * 1e3
    assert radius.min() >= 0.0
    assert radius.max() <= 14.6
    inner = (true > 1.5) & (true < 14.0)
    pull = (radius - true)[inner] / drift_resolution(true[inner])
    assert pull.mean() == pytest.approx(0.0, abs=0.02)
    assert pull.std() == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(hits["covYY"][drift], drift_resolution(radius) ** 2)
    late = hits["time"][drift] - drift_time(radius)
    assert late.mean() == pytest.approx(0.0, abs=0.1)
    assert late.std() == pytest.approx(3.0, rel=0.02)
    sigma = drift_resolution(np.random.default_rng(0).uniform(0, 14.6, 100_000))
    assert sigma.mean() == pytest.approx(0.096, abs=0.001)
    assert np.median(sigma) == pytest.approx(0.075, abs=0.001)


def measured(signals, hits):
    """Measured minus true coordinate and tangential coordinate of the middle between the edges (m)."""
    low, high = edges(hits)
    middle = 0.5 * (low + high)
    phi = LAYERS.sector_phi(signals.row, signals.sector)
    distance = middle[:, 0] * np.cos(phi) + middle[:, 1] * np.sin(phi)
    along = middle[:, 1] * np.cos(phi) - middle[:, 0] * np.sin(phi)
    coordinate = np.where(LAYERS.barrel[signals.row], np.abs(middle[:, 2]), distance)
    depth = np.where(LAYERS.barrel[signals.row], distance, np.abs(middle[:, 2]))
    np.testing.assert_allclose(depth, LAYERS.position[signals.row], atol=1e-9)
    np.testing.assert_array_equal(np.sign(middle[:, 2]), signals.side)
    return coordinate - signals.coordinate, along - signals.tangential, np.linalg.norm(high - low, axis=1)


@pytest.mark.parametrize(
    ("technology", "spread", "widest"),
    [(RPC, 30 / 12**0.5, 15), (TGC, 20 / 12**0.5, 10), (STGC, 0.15, None), (MM, 0.12, None)],
)
def test_strips_measure_with_their_precision(signals, hits, technology, spread, widest):
    which = hits["technology"] == technology
    residual = measured(signals, hits)[0][which] * 1e3
    assert residual.std() == pytest.approx(spread, rel=0.03)
    assert abs(residual.mean()) < 5 * spread / which.sum() ** 0.5
    if widest:
        assert np.abs(residual).max() <= widest + 1e-6
    np.testing.assert_allclose(hits["covYY"][which], spread**2, rtol=1e-9)
    assert np.all(hits["driftR"][which] == 0.0)


@pytest.mark.parametrize(("technology", "share"), [(MDT, 0.0), (RPC, 0.9), (TGC, 0.9), (STGC, 0.9), (MM, 0.0)])
def test_second_coordinate(signals, hits, technology, share):
    which = hits["technology"] == technology
    _, along, length = (values[which] for values in measured(signals, hits))
    row, coordinate = signals.row[which], measured(signals, hits)[0][which] + signals.coordinate[which]
    full = 2 * LAYERS.half_length(row, coordinate)
    known = length < 0.9 * full
    assert known.mean() == pytest.approx(share, abs=0.01)
    pitch = {TGC: 0.004 * coordinate, STGC: 0.010 * 12**0.5}.get(technology, 0.030) * np.ones(row.size)
    np.testing.assert_allclose(length, np.where(known, pitch, full), rtol=1e-9)
    variance = np.where(known, pitch**2 / 12, (full / 2) ** 2)
    np.testing.assert_allclose(hits["covXX"][which], variance * 1e6, rtol=1e-9)
    # a TGC strip is an angle: the error of the distance from the beam, up to 10 mm, turns into tan(pi / 48) of it
    assert np.all(np.abs(along[known]) <= pitch[known] * 0.51 + (0.0007 if technology == TGC else 0))


def test_identifiers_are_within_their_ranges(signals, hits):
    assert set(hits["readOutSide"]) == {-1, 1}
    assert set(hits["technology"]) == {0, 2, 3, 4, 5}
    for name, least, most in (
        ("stationPhi", 1, 48), ("layer", 1, 8), ("channel", 1, 6000), ("stationIndex", 0, 58),
    ):  # fmt: skip
        assert hits[name].min() >= least
        assert hits[name].max() <= most
        assert np.all(hits[name] == np.rint(hits[name]))
    assert set(np.abs(hits["stationEta"])) == set(range(1, 7))
    tgc = hits["technology"] == TGC
    assert hits["stationPhi"][~tgc].max() == 8
    azimuth = LAYERS.sector_phi(signals.row, signals.sector) + np.arctan2(signals.tangential, signals.coordinate)
    azimuth %= 2 * np.pi
    np.testing.assert_array_equal(hits["stationPhi"][tgc], 1 + np.floor(48 * azimuth[tgc] / (2 * np.pi)))
    forward = np.hypot(hits["globEdgeLowX"], hits["globEdgeLowY"]) < 3900
    assert np.all(hits["stationIndex"][tgc & forward] % 2 == 1)
    assert set(hits["stationIndex"][tgc]) == {41, 42, 43, 44, 45, 46}
    for axis, most in (("X", 15000), ("Y", 15000), ("Z", 25000)):
        assert np.abs(hits[f"globEdgeHigh{axis}"]).max() < most
    assert np.all(hits["covXY"] == 0)
    assert np.all(hits["covYX"] == 0)


def test_high_edge_is_at_larger_azimuth(hits):
    low, high = edges(hits)
    assert np.all(low[:, 0] * high[:, 1] - low[:, 1] * high[:, 0] > 0)


def test_late_signals_have_flat_times_but_drift_times_belong_to_the_radius(signals):
    late = Signals(**{**vars(signals), "in_time": np.zeros(signals.row.size, dtype=bool)})
    values = read_out(np.random.default_rng(5), late, LAYERS)
    time, radius = (values[:, HIT_FEATURES.index(f"spacePoint_{n}")] for n in ("time", "driftR"))
    drift = LAYERS.technology[late.row] == MDT
    assert np.std(time[drift] - drift_time(radius[drift])) == pytest.approx(3.0, rel=0.02)
    assert time[~drift].std() == pytest.approx(50 / 12**0.5, rel=0.02)
    assert np.abs(time[~drift]).max() <= 25.0
