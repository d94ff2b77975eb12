import numpy as np
import pytest

from hitpool.simulation import Line, Muons, Settings, sample_muons, sample_passage, scattering_angle
from hitpool.simulation.material import calorimeter_path, kick_paths, sample_energy_loss, solenoid_line


def one_kind(size, pt, eta, phi=0.3, charge=1.0):
    return Muons(np.arange(size), *(np.full(size, float(v)) for v in (pt, eta, phi, charge, 0.0)))


@pytest.mark.parametrize("charge", [-1, 1])
@pytest.mark.parametrize("eta", [0.2, -2.4])
def test_solenoid_line_is_tangent_to_the_circle_in_the_solenoid(charge, eta):
    muon = one_kind(1, 5.0, eta, 0.3, charge)
    line = solenoid_line(muon)
    radius = 5.0 / (0.2998 * 2.0)
    # positive muons turn clockwise around a centre on their right
    centre = radius * charge * np.array([np.sin(0.3), -np.cos(0.3)])
    foot = np.array([line.foot_x[0], line.foot_y[0]])
    direction = np.array([np.cos(line.phi[0]), np.sin(line.phi[0])])
    t_touch = (centre - foot) @ direction
    touch = foot + t_touch * direction
    assert np.linalg.norm(touch - centre) == pytest.approx(radius, rel=1e-9)
    leaves_at = min(1.15, 2.65 / abs(np.sinh(eta)))
    assert np.linalg.norm(touch) == pytest.approx(leaves_at, rel=1e-9)
    assert foot @ direction == pytest.approx(0.0, abs=1e-12)


def test_turned_line_keeps_its_pivot():
    line = Line(np.array([0.1]), np.array([-0.2]), np.array([1.0]))
    t = np.array([2.7])
    turned = line.turned(t, np.array([0.05]))
    assert turned.phi[0] == 1.05
    for before, after, f in ((line.foot_x, turned.foot_x, np.cos), (line.foot_y, turned.foot_y, np.sin)):
        assert before + t * f(line.phi) == pytest.approx(after + t * f(turned.phi), abs=1e-14)


def test_calorimeter_path_in_barrel_and_endcap():
    np.testing.assert_allclose(calorimeter_path(one_kind(1, 20, 0.0))[0], [1.5, 4.25])
    steep = np.tanh(2.5)  # sin of the dip angle
    np.testing.assert_allclose(calorimeter_path(one_kind(1, 20, -2.5))[0], [3.7 / steep, 6.7 / steep])


def test_energy_loss_has_its_mean_and_spread_and_leaves_some_momentum():
    rng = np.random.default_rng(2)
    loss = sample_energy_loss(rng, one_kind(200_000, 50, 1.0))
    mean = 3.5 * (1 + 0.07 * np.log(5 * np.cosh(1.0)))
    assert loss.mean() == pytest.approx(mean, rel=0.005)
    assert loss.std() == pytest.approx(0.27 * np.sqrt(mean / 3), rel=0.02)
    assert np.all(5.0 - sample_energy_loss(rng, one_kind(200_000, 5, 0.0)) >= 1.0)


def test_scattering_has_the_spread_of_the_formula():
    assert scattering_angle(np.array(0.1), np.array(1.0)) == pytest.approx(0.0136)  # at least 1 GeV
    size = 100_000
    muons = one_kind(size, 20, 0.0)
    passage = sample_passage(np.random.default_rng(8), muons)
    momentum = 20 - passage.energy_loss
    calorimeter = 0.0136 / momentum * np.sqrt(120) * (1 + 0.038 * np.log(120)) / np.sqrt(2)
    pull = passage.calorimeter_kicks / calorimeter[:, None]
    np.testing.assert_allclose(pull.std(axis=0), 1.0, rtol=0.01)
    assert abs(np.corrcoef(pull.T)[0, 1]) < 0.02
    direction = passage.line.phi - solenoid_line(muons).phi
    assert np.std(direction / calorimeter) == pytest.approx(np.sqrt(2), rel=0.01)
    thin = np.array([0.30, 0.35, 0.30, 0.35, 0.30, 0.50, 0.50, 0.40])
    spread = 0.0136 / momentum[:, None] * np.sqrt(thin) * (1 + 0.038 * np.log(thin))
    np.testing.assert_allclose((passage.spectrometer_kicks / spread).std(axis=0), 1.0, rtol=0.01)


def test_two_kicks_have_the_lever_arm_of_a_thick_scatterer():
    path = calorimeter_path(sample_muons(np.random.default_rng(1), 50, Settings()))
    kicks = kick_paths(path)
    length = path[:, 1] - path[:, 0]
    np.testing.assert_allclose(kicks.mean(axis=1), path.mean(axis=1))
    np.testing.assert_allclose(kicks[:, 1] - kicks[:, 0], length / np.sqrt(3))
