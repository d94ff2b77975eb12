"""Target fields that follow from the columns on disk."""

import numpy as np
import pytest

from hitpool.data.particle_targets import ParticleTargets

COLUMNS = ["truthMuon_pt", "truthMuon_eta", "truthMuon_phi", "truthMuon_q", "d0"]


def test_derived_fields_equal_the_momentum_vector() -> None:
    random = np.random.default_rng(0)
    px, py, pz = random.normal(scale=20, size=(3, 500))
    charge = random.choice([-1.0, 1.0], 500)
    pt, p = np.hypot(px, py), np.sqrt(px**2 + py**2 + pz**2)
    tracks = np.stack([pt, np.arctanh(pz / p), np.arctan2(py, px), charge, 0.1 * px], axis=-1)
    fields = ["truthMuon_theta", "truthMuon_qop", "d0", "truthMuon_qpt", "truthMuon_eta"]
    expected = np.stack([np.arccos(pz / p), charge / p, 0.1 * px, charge / pt, np.arctanh(pz / p)], axis=-1)
    np.testing.assert_allclose(ParticleTargets(COLUMNS, fields)(tracks), expected, rtol=1e-9)


def test_a_column_comes_before_what_could_be_derived() -> None:
    targets = ParticleTargets(["pt", "eta", "q", "theta"], ["theta"])
    assert targets(np.array([[10.0, 0.0, 1.0, 0.3]])).tolist() == [[0.3]]


def test_columns_must_have_the_same_prefix() -> None:
    with pytest.raises(ValueError, match=r"unknown target field 'a_qpt'.*available derived fields: b_theta$"):
        ParticleTargets(["a_q", "b_pt", "b_eta"], ["a_qpt"])
