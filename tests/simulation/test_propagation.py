import numpy as np
import pytest

from hitpool.simulation import Line, Passage, layer_crossings, muon_layers, propagate, propagation


def passage(size, phi=0.1, loss=0.0, calorimeter_kicks=0.0, spectrometer_kicks=0.0):
    return Passage(
        line=Line(np.zeros(size), np.zeros(size), np.broadcast_to(np.asarray(phi, float), size).copy()),
        calorimeter_path=np.tile([1.5, 4.25], (size, 1)),
        energy_loss=np.full(size, loss),
        calorimeter_kicks=np.broadcast_to(calorimeter_kicks, (size, 2)),
        spectrometer_kicks=np.broadcast_to(spectrometer_kicks, (size, 8)),
    )


def dips(eta):
    return np.arctan(np.sinh(np.asarray(eta, float)))


@pytest.mark.parametrize(("momentum", "sagitta"), [(50.0, 9.4e-3), (1000.0, 0.47e-3)])
def test_sagitta_in_a_uniform_field(monkeypatch, momentum, sagitta):
    monkeypatch.setattr(propagation, "toroid_field", lambda x, y, z, ripple: np.full_like(z, 0.5))
    track = propagate(np.array([1 / momentum]), np.zeros(1), np.zeros(1), passage(1))
    end = 50  # 5 m
    middle = 0.5 * (track.z[0, 0] + track.z[0, end]) - track.z[0, end // 2]
    assert abs(middle) == pytest.approx(0.2998 * 0.5 * 25 / (8 * momentum), rel=1e-3)
    assert abs(middle) == pytest.approx(sagitta, rel=0.01)
    radius = momentum / (0.2998 * 0.5)
    np.testing.assert_allclose(track.t[0], radius * np.sin(0.1 * np.arange(271) / radius), atol=1e-4)
    np.testing.assert_allclose(track.z[0], radius * (1 - np.cos(0.1 * np.arange(271) / radius)), atol=1e-5)


def test_positive_muons_bend_towards_positive_z_on_both_sides():
    track = propagate(np.full(2, 1 / 20), dips([0.3, -0.3]), np.zeros(2), passage(2))
    assert np.all(track.dip[:, -1] > track.dip[:, 0])


def test_mirror_symmetry():
    eta = np.linspace(-2.6, 2.6, 40)
    z0 = np.linspace(-0.1, 0.1, 40)
    kicks = np.random.default_rng(0).normal(0, 1e-3, (40, 8))
    charge = np.where(np.arange(40) % 3 == 0, -1, 1)
    one = propagate(charge / (8 * np.cosh(eta)), dips(eta), z0, passage(40, loss=3.0, spectrometer_kicks=kicks))
    two = propagate(-charge / (8 * np.cosh(eta)), dips(-eta), -z0, passage(40, loss=3.0, spectrometer_kicks=-kicks))
    np.testing.assert_allclose(two.t, one.t, rtol=0, atol=1e-12)
    np.testing.assert_allclose(two.z, -one.z, rtol=0, atol=1e-12)
    layers = muon_layers()
    there, mirrored = layer_crossings(one, layers), layer_crossings(two, layers)
    np.testing.assert_array_equal(mirrored.inside, there.inside)
    inside = there.inside
    np.testing.assert_array_equal(mirrored.side[inside], -there.side[inside])
    np.testing.assert_allclose(mirrored.coordinate[inside], there.coordinate[inside], atol=1e-9)


@pytest.mark.parametrize(("pt", "limit"), [(5, 1e-6), (20, 0.2e-6), (100, 0.1e-6)])
def test_halving_the_step_moves_crossings_little(pt, limit):
    eta = np.concatenate([np.linspace(0.05, 2.65, 53), -np.linspace(0.05, 2.65, 53)])
    size = eta.size
    layers = muon_layers()
    coarse, fine = (
        layer_crossings(
            propagate(
                1 / (pt * np.cosh(eta)), dips(eta), np.zeros(size), passage(size, np.linspace(-3, 3, size)), step
            ),
            layers,
        )
        for step in (0.10, 0.05)
    )
    both = coarse.inside & fine.inside
    assert both.sum() > 15 * size
    assert np.mean(coarse.inside == fine.inside) > 0.999
    assert np.abs(coarse.coordinate - fine.coordinate)[both].max() < limit


def test_each_plane_scatters_once_where_it_is_crossed():
    eta = np.array([0.4, 1.2, 2.2])
    z0 = np.array([0.02, -0.03, 0.0])
    kicks = np.random.default_rng(1).normal(0, 1e-4, (3, 8))
    track = propagate(np.full(3, 1e-12), dips(eta), z0, passage(3, spectrometer_kicks=kicks))
    for i in range(3):
        slope = np.sinh(eta[i])
        at_t = np.array([4.9, 6.0, 7.2, 8.4])
        at_z = np.array([7.3, 9.0, 12.0, 13.9])
        path = np.concatenate([at_t, (at_z - z0[i]) / slope]) * np.cosh(eta[i])
        height = np.concatenate([z0[i] + at_t * slope, np.zeros(4)])
        expected = np.ceil(path / 0.1).astype(int)
        expected[(path > 27.0) | (height > 13.0)] = 271
        assert np.abs(track.plan.spectrometer[i] - expected).max() <= 1
        applied = kicks[i, track.plan.spectrometer[i] < 271].sum()
        assert track.dip[i, -1] - track.dip[i, 0] == pytest.approx(applied, abs=1e-9)


def test_calorimeter_kicks_and_loss_happen_in_the_calorimeter(monkeypatch):
    kicked = propagate(np.full(1, 1e-12), np.zeros(1), np.zeros(1), passage(1, calorimeter_kicks=[1e-3, 2e-3]))
    middle, offset = 2.875, 2.75 / np.sqrt(12)
    first, second = round((middle - offset) / 0.1), round((middle + offset) / 0.1)
    np.testing.assert_allclose(kicked.dip[0, first - 1 : first + 1], [0.0, 1e-3], atol=1e-9)
    np.testing.assert_allclose(kicked.dip[0, second - 1 : second + 1], [1e-3, 3e-3], atol=1e-9)

    monkeypatch.setattr(propagation, "toroid_field", lambda x, y, z, ripple: np.full_like(z, 0.5))
    bend = np.diff(propagate(np.full(1, 0.1), np.zeros(1), np.zeros(1), passage(1, loss=5.0)).dip[0])
    np.testing.assert_allclose(bend[:28], 0.1 * 0.2998 * 0.5 / 10)
    np.testing.assert_allclose(bend[30:], 0.1 * 0.2998 * 0.5 / 5)


def test_following_the_plan_gives_the_same_track_and_smooth_derivatives():
    rng = np.random.default_rng(4)
    eta = rng.uniform(-2.5, 2.5, 200)
    q_over_p, z0 = rng.choice([-1, 1], 200) / (10 * np.cosh(eta)), rng.normal(0, 0.05, 200)
    through = passage(200, rng.uniform(-3, 3, 200), 3.0, spectrometer_kicks=rng.normal(0, 2e-3, (200, 8)))
    nominal = propagate(q_over_p, dips(eta), z0, through)
    again = propagate(q_over_p, dips(eta), z0, through, plan=nominal.plan)
    for name in ("t", "z", "dip"):
        np.testing.assert_array_equal(getattr(again, name), getattr(nominal, name))

    def derivative(h):
        up, down = (propagate(q_over_p, dips(eta) + d, z0, through, plan=nominal.plan).z[:, 150] for d in (h, -h))
        return (up - down) / (2 * h)

    np.testing.assert_allclose(derivative(1e-3), derivative(1e-4), rtol=0.01, atol=0.02)
