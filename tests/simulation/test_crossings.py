import numpy as np
import pytest
from scipy import stats

from hitpool.simulation import Line, Trajectory, layer_crossings, muon_layers
from hitpool.simulation.geometry import MDT

LAYERS = muon_layers()


def straight(size, seed=0, foot=0.05):
    """Straight tracks on a coarse grid, with their start points and directions."""
    rng = np.random.default_rng(seed)
    phi, eta = rng.uniform(-np.pi, np.pi, size), rng.uniform(-2.7, 2.7, size)
    offset, z0, dip = rng.normal(0, foot, size), rng.normal(0, foot, size), np.arctan(np.sinh(eta))
    path = np.arange(0.0, 27.01, 0.5)
    line = Line(-offset * np.sin(phi), offset * np.cos(phi), phi)
    track = Trajectory(
        np.cos(dip)[:, None] * path,
        z0[:, None] + np.sin(dip)[:, None] * path,
        np.repeat(dip[:, None], path.size, axis=1),
        line,
    )
    start = np.stack([line.foot_x, line.foot_y, z0], axis=1)
    direction = np.stack([np.cos(dip) * np.cos(phi), np.cos(dip) * np.sin(phi), np.sin(dip)], axis=1)
    return track, start, direction


def frame(row, sector):
    """Vectors across and along the wires in the transverse plane."""
    phi = LAYERS.sector_phi(row, sector)
    zero = np.zeros_like(phi)
    return (
        np.stack([np.cos(phi), np.sin(phi), zero], axis=-1),
        np.stack([-np.sin(phi), np.cos(phi), zero], axis=-1),
    )


@pytest.fixture(scope="module")
def crossed():
    track, start, direction = straight(3000)
    return layer_crossings(track, LAYERS), start, direction


def test_straight_tracks_cross_at_the_analytic_points(crossed):
    crossings, start, direction = crossed
    i, row = np.nonzero(crossings.inside)
    across, along = frame(row, crossings.sector[i, row])
    c, v, side = (getattr(crossings, name)[i, row] for name in ("coordinate", "tangential", "side"))
    barrel = LAYERS.barrel[row]
    distance, z = np.where(barrel, LAYERS.position[row], c), side * np.where(barrel, c, LAYERS.position[row])
    point = distance[:, None] * across + v[:, None] * along
    point[:, 2] += z
    away = point - start[i]
    miss = np.linalg.norm(away - np.sum(away * direction[i], axis=1)[:, None] * direction[i], axis=1)
    assert i.size > 50_000
    assert miss.max() < 1e-6


def test_no_crossing_is_missed(crossed):
    crossings, start, direction = crossed
    expected = np.zeros_like(crossings.inside)
    for row in range(len(LAYERS)):
        for sector in range(LAYERS.sectors[row]):
            across, along = frame(row, np.array(sector))
            if LAYERS.barrel[row]:
                path = (LAYERS.position[row] - start @ across) / (direction @ across)
            else:
                path = (np.sign(direction[:, 2]) * LAYERS.position[row] - start[:, 2]) / direction[:, 2]
            point = start + path[:, None] * direction
            c = np.abs(point[:, 2]) if LAYERS.barrel[row] else point @ across
            half = (LAYERS.reach[row] if LAYERS.barrel[row] else c) * LAYERS.half_tan[row]
            expected[:, row] |= (
                (path > 0)
                & (path < 27)
                & (np.abs(point @ along) < half)
                & (c > LAYERS.low[row])
                & (c < LAYERS.high[row])
            )
    margin = expected & ~crossings.inside
    assert margin.sum() == 0
    extra = crossings.inside & ~expected  # drift tubes may fire half a pitch beyond their range
    outside = np.where(
        crossings.coordinate > LAYERS.high, crossings.coordinate - LAYERS.high, LAYERS.low - crossings.coordinate
    )
    assert np.all(outside[extra] >= -1e-9)
    assert outside[extra].max() < 0.031


def test_angle_to_the_layer(crossed):
    crossings, _, direction = crossed
    i, row = np.nonzero(crossings.inside)
    across, along = frame(row, crossings.sector[i, row])
    in_plane = direction[i] - np.sum(direction[i] * along, axis=1)[:, None] * along
    in_plane /= np.linalg.norm(in_plane, axis=1)[:, None]
    normal = np.where(LAYERS.barrel[row][:, None], across, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(crossings.cos_alpha[i, row], np.abs(np.sum(in_plane * normal, axis=1)), atol=1e-9)


def test_seven_percent_of_azimuth_is_covered_by_both_kinds_of_sectors():
    track, _, _ = straight(20_000, seed=1, foot=0.0)
    rows = np.array([np.flatnonzero(LAYERS.code == code)[0] for code in (2, 3)])
    large, small = layer_crossings(track, LAYERS.take(rows)).inside.T
    crossed = large | small
    both = large & small
    assert 2 * (0.245 + 0.175) / (np.pi / 4) - 1 == pytest.approx(0.07, abs=0.001)  # in the middle of the station
    half_width = np.arctan(LAYERS.reach[rows] * LAYERS.half_tan[rows] / LAYERS.position[rows])
    expected = 2 * half_width.sum() / (np.pi / 4) - 1
    # the two stations end at different |eta|: only tracks that could cross both count
    eta = np.arcsinh(np.abs(np.tan(track.dip[:, 0])))
    common = (eta < np.arcsinh(9.6 / 8.2)) & (eta > 0.1)
    assert np.all(crossed[common])
    p = stats.binomtest(int(both[common].sum()), int(common.sum()), expected).pvalue
    assert p > 1e-3


def test_tracks_that_curl_or_go_nowhere_do_not_disturb_others():
    track, _, _ = straight(3)
    t = track.t.copy()
    t[1] = 2.0 * np.sin(np.linspace(0, 6, t.shape[1]))  # never reaches a station, comes back
    z = track.z.copy()
    z[1] = 0.0
    curled = layer_crossings(Trajectory(t, z, track.dip, track.line), LAYERS)
    alone = layer_crossings(track, LAYERS)
    assert not curled.inside[1].any()
    for i in (0, 2):
        np.testing.assert_array_equal(curled.coordinate[i], alone.coordinate[i])
    assert (LAYERS.technology[alone.inside.any(axis=0)] == MDT).any()
