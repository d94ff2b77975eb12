from dataclasses import replace

import numpy as np
import pytest

from hitpool.simulation import (
    Muons,
    Settings,
    cramer_rao_bound,
    drift_resolution,
    layer_crossings,
    muon_layers,
    muon_signals,
    propagate_muons,
)
from hitpool.simulation.events import INNER_BARREL_CODES
from hitpool.simulation.geometry import LARGE, MDT, RPC, STGC, TGC, TGC_SECTORS, TGC_STRIP_ANGLE, TUBE_LAYER_DISTANCE
from hitpool.simulation.information import ANGLE_UNIT, RELATIVE_UNIT, expected_information, linearise
from hitpool.simulation.material import sample_passage, solenoid_line
from hitpool.simulation.readout import strip_precision

ETAS = [0.15, 0.5, 0.9, 1.15, 1.3, 1.5, 1.8, 2.2, 2.6]
# pT: sigma(pT) / pT in %, of an independent calculation whose inner wheel has the layer distances of a tube station
FULL = {
    5: [5.3, 5.1, 4.5, 3.9, 3.7, 3.2, 2.6, 2.1, 1.7],
    10: [3.0, 2.8, 2.5, 2.4, 2.4, 2.4, 2.1, 1.7, 1.4],
    20: [2.3, 2.1, 2.0, 2.0, 2.1, 2.8, 2.3, 1.8, 1.4],
    50: [2.4, 2.1, 2.1, 1.9, 2.1, 3.5, 2.7, 1.9, 1.4],
    100: [2.6, 2.3, 2.3, 2.1, 2.2, 3.8, 2.9, 2.1, 1.6],
    200: [3.2, 2.9, 2.7, 2.4, 2.6, 4.1, 3.3, 2.7, 2.3],
    1000: [11.1, 9.9, 7.9, 6.4, 8.0, 8.4, 9.6, 9.6, 9.7],
}
SAMPLE = {  # from eta 1.3 on
    10: [4.7, 13, 12, 8.5, 6.1],
    50: [12, 27, 24, 17, 12],
    100: [24, 51, 46, 32, 22],
    200: [48, 102, 90, 63, 44],
}


def muons(pt, eta, phi=0.02, charge=1.0):
    pt, eta, phi, charge = (array.ravel() for array in np.broadcast_arrays(*np.atleast_1d(pt, eta, phi, charge)))
    return Muons(np.arange(pt.size), pt * 1.0, eta * 1.0, phi * 1.0, charge * 1.0, np.zeros(pt.size))


def layers_of_the_tables():
    """Large sectors, and a wheel of two times four layers as far apart as those of the tubes beside it."""
    layers = muon_layers()
    layers = layers.take((layers.first_phi == LARGE[0]) | (layers.sectors == TGC_SECTORS))
    wheel = np.flatnonzero(layers.technology >= STGC)
    wheel = wheel[np.argsort(layers.position[wheel])]
    stack = np.array([side * 0.0605 + place * TUBE_LAYER_DISTANCE for side in (-1, 1) for place in range(4)])
    stack[:4] = -stack[4:][::-1]
    position = layers.position.copy()
    position[wheel] = position[wheel].mean() + stack
    return replace(layers, position=position)


def information_of_the_tables(crossings, layers, settings):
    """Every layer hit; 0.085 mm in tubes and wheel; RPCs and TGCs beyond the innermost station measure azimuth."""
    strips, gas_gaps = layers.technology == RPC, layers.technology == TGC
    sigma = np.select([strips, gas_gaps], [8.7e-3, 6e-3], 0.085e-3)
    linked = (layers.technology < STGC) | (settings.preset == "full")
    along = np.where(gas_gaps, TGC_STRIP_ANGLE * np.maximum(crossings.coordinate, 1) / np.sqrt(12), 8.7e-3)
    azimuth = gas_gaps | (strips & ~np.isin(layers.code, INNER_BARREL_CODES))
    inside = crossings.inside & linked
    return inside * crossings.cos_alpha**2 / sigma**2, (inside & azimuth) / along**2


def bound_of_the_tables(pt, eta, preset="full"):
    return cramer_rao_bound(muons(pt, eta), Settings(preset=preset), layers_of_the_tables(), information_of_the_tables)


@pytest.mark.parametrize(("preset", "table"), [("full", FULL), ("sample", SAMPLE)])
def test_relative_resolution_of_the_tables(preset, table):
    expected = np.array(list(table.values())) / 100
    etas = ETAS[-expected.shape[1] :]
    bound = bound_of_the_tables(np.repeat(list(table), len(etas)), np.tile(etas, len(table)), preset)
    np.testing.assert_allclose(bound.qpt.reshape(expected.shape), expected, rtol=0.1)


def test_angular_resolutions_of_the_tables():
    eta = {(5, 0.5): 27, (5, 1.8): 12, (10, 0.5): 14, (10, 1.8): 8.7, (20, 0.5): 9, (20, 1.8): 6.8, (50, 0.5): 4}
    eta |= {(50, 1.8): 3.9, (100, 0.5): 2, (100, 1.8): 2, (200, 1.8): 1.0}
    phi = {(5, 0.5): 25, (5, 1.8): 14, (10, 0.5): 8.6, (10, 1.8): 9.7, (20, 0.5): 4.9, (20, 1.8): 5.9, (50, 0.5): 2.5}
    phi |= {(50, 1.8): 2.5, (100, 1.8): 1.4, (200, 0.5): 0.8, (200, 1.8): 0.8}
    for name, expected in (("eta", eta), ("phi", phi)):
        values = 1e3 * getattr(bound_of_the_tables(*np.array(list(expected)).T), name)
        np.testing.assert_allclose(values, list(expected.values()), rtol=0.12, err_msg=name)


@pytest.mark.parametrize(
    ("pt", "eta", "preset"),
    [(20, 0.5, "full"), (10, 1.8, "full"), (20, 1.5, "full"), (50, 2.2, "full"), (20, 1.5, "sample")],
)
def test_a_fit_with_the_true_sides_of_the_wires_reaches_the_bound(pt, eta, preset):
    """The 8 layers of the simulated wheel lie within 84 mm: there the bound is up to 25 % above that of the tables."""
    settings, tracks, rng = Settings(preset=preset), 1500, np.random.default_rng(5)
    phi = np.pi / TGC_SECTORS - solenoid_line(muons(pt, eta, 0.0)).phi[0]  # all tracks in the middle of a sector
    expected = muons(pt, eta, phi)
    fit = linearise(expected, settings)
    covariance = fit.covariance()[0]
    sigma = np.sqrt(np.diag(covariance)[:3])  # of q/pT, eta, phi, in their units
    true = 0.3 * rng.normal(size=(3, tracks)) * sigma[:, None]
    many = Muons(
        np.arange(tracks),
        pt / (1 + RELATIVE_UNIT * true[0]),
        eta + ANGLE_UNIT * true[1],
        phi + ANGLE_UNIT * true[2],
        np.ones(tracks),
        rng.normal(0, settings.z0_width, tracks),
    )
    crossings = layer_crossings(propagate_muons(many, sample_passage(rng, many), settings), muon_layers())
    seen = fit.information[0] > 0
    measured = np.concatenate([crossings.coordinate, crossings.tangential], axis=1)[:, seen]
    measured += rng.normal(size=measured.shape) / np.sqrt(fit.information[0, seen])
    weighted = fit.information[0, seen, None] * fit.jacobian[0, seen]
    estimated = (measured - fit.expected[0, seen]) @ weighted @ covariance[:, :3]
    pull = (estimated - true.T) / sigma
    np.testing.assert_allclose(pull.std(axis=0), 1.0, atol=0.07)
    np.testing.assert_allclose(pull.mean(axis=0), 0.0, atol=0.15)
    bound = cramer_rao_bound(expected, settings)
    np.testing.assert_allclose([bound.qpt[0], bound.eta[0]], sigma[:2] * [RELATIVE_UNIT, ANGLE_UNIT])


def test_symmetries_of_the_detector():
    pt, eta, phi, charge = np.array([8.0, 30.0, 100.0]), np.array([0.4, 1.4, -2.1]), np.array([0.1, 0.3, 1.0]), 1.0
    expected = cramer_rao_bound(muons(pt, eta, phi, charge))
    for other in (
        muons(pt, -eta, -phi, -charge),
        muons(pt, eta, phi + 3 * np.pi / 4, charge),
    ):
        for name, values in vars(cramer_rao_bound(other)).items():
            np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-3, err_msg=name)


def test_what_is_not_measured_is_unbounded():
    layers = muon_layers()
    bound = cramer_rao_bound(muons(20, 0.5), layers=layers.take(layers.technology == TGC))
    assert min(bound.qpt[0], bound.eta[0], bound.phi[0]) > 10
    assert cramer_rao_bound(muons(20, 0.5).take(slice(0))).qpt.shape == (0,)


def test_displaced_stations_limit_large_momenta():
    muon = muons([20, 500], 0.5)
    aligned, displaced = (cramer_rao_bound(muon, Settings(align=spread)).qpt for spread in (0.0, 0.1))
    assert displaced[0] == pytest.approx(aligned[0], rel=0.02)
    assert displaced[1] > 1.2 * aligned[1]


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
def test_expected_information_is_the_mean_of_simulated_hits(eta):
    size, settings, layers, rng = 3000, Settings(), muon_layers(), np.random.default_rng(9)
    many = muons(np.full(size, 300.0), eta + np.linspace(-0.05, 0.05, size), 0.06)
    crossings = layer_crossings(propagate_muons(many, sample_passage(rng, many), settings), layers)
    expected, _ = expected_information(crossings, layers, settings)
    signals = muon_signals(rng, many, layers, settings)
    signals = signals.take(signals.link >= 0)
    drift = layers.technology[signals.row] == MDT
    sigma = np.where(drift, drift_resolution(1e3 * signals.radius) / 1e3, strip_precision(layers)[signals.row])
    projection = np.where(drift, crossings.cos_alpha[signals.link, signals.row], 1.0)
    for technology in np.unique(layers.technology):
        simulated = np.sum((projection / sigma)[layers.technology[signals.row] == technology] ** 2)
        # a delta electron's hit counts in the sum, not in the expectation
        assert expected[:, layers.technology == technology].sum() == pytest.approx(simulated, rel=0.05)
