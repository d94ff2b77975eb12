import math

import numpy as np
import pytest

from hitpool.evaluation.finding.particles import Particles
from hitpool.evaluation.finding.surroundings import surroundings


def test_particles_have_the_surroundings_of_loops(busy) -> None:
    particles = busy(6)
    true, itself = particles.values, np.arange(len(particles))
    found = surroundings(particles, particles.event, itself, true)
    for i in itself:
        others = [j for j in itself if particles.event[j] == particles.event[i] and j != i]
        apart = [
            math.hypot(true["eta"][i] - true["eta"][j], math.remainder(true["phi"][i] - true["phi"][j], 2 * math.pi))
            for j in others
        ]
        along = [abs(true["z0"][i] - true["z0"][j]) for j in others]
        assert found["density"][i] == sum(r < 0.2 for r in apart)
        assert found["delta_r"][i] == pytest.approx(min(apart))
        assert found["vertex_distance"][i] == pytest.approx(
            min((z for z in along if z > 1), default=np.nan), nan_ok=True
        )
        assert found["abs_z0"][i] == abs(true["z0"][i])


def two_particles(unit: str = "mm") -> Particles:
    values = {"eta": np.array([0.0, 0.1]), "phi": np.array([3.1, -3.1]), "z0": np.array([-1.0, 4.0])}
    return Particles(np.arange(1), np.array([0, 2]), np.array([0, 0]), np.empty(0, int), values, {"z0": unit})


def test_the_particle_of_a_track_does_not_count_and_of_a_fake_all_do() -> None:
    values = {"eta": np.array([0.0, 0.0, np.nan]), "phi": np.array([3.1, 3.1, 0.0]), "z0": np.array([1.0, 1.0, np.nan])}
    found = surroundings(two_particles(), np.zeros(3, int), np.array([0, -1, -1]), values)
    np.testing.assert_array_equal(found["density"], [1, 2, np.nan])
    np.testing.assert_allclose(found["delta_r"], [np.hypot(0.1, 2 * np.pi - 6.2), 0.0, np.nan])
    np.testing.assert_allclose(found["vertex_distance"], [3.0, 2.0, np.nan])
    np.testing.assert_array_equal(found["abs_z0"], [1.0, 1.0, np.nan])


def test_a_particle_alone_is_near_nothing() -> None:
    values = {"eta": np.zeros(1), "phi": np.zeros(1), "z0": np.zeros(1)}
    alone = Particles(np.arange(1), np.array([0, 1]), np.array([0, 0]), np.empty(0, int), values, {"z0": "mm"})
    found = surroundings(alone, np.zeros(1, int), np.zeros(1, int), values)
    assert found["density"] == [0]
    assert np.isnan([found["delta_r"][0], found["vertex_distance"][0]]).all()


def test_what_is_not_known_is_left_out() -> None:
    itself = np.arange(2)
    particles = two_particles("")
    assert "vertex_distance" not in surroundings(particles, np.zeros(2, int), itself, particles.values)
    assert set(surroundings(particles, np.zeros(2, int), itself, {"eta": np.zeros(2)})) == set()
