"""The particles of busy events: many, of low momentum, from several vertices."""

from __future__ import annotations

import numpy as np

from hitpool.acts.gun import ETA, MUON, VERTEX_SPREAD, GunParticles

PARTICLES = (20, 60)  # in an event, uniform
PT = (0.5, 20.0)  # GeV, density proportional to pT^-2: 1 / pT is uniform
PARTICLES_PER_VERTEX = 5  # on average
PION = 211  # PDG code of the positive one


def shoot_busy(rng: np.random.Generator) -> GunParticles:
    """Draws the particles of one event: muons and charged pions, half of each, both charges.

    Args:
        rng: Source of random numbers.
    """
    count = int(rng.integers(PARTICLES[0], PARTICLES[1] + 1))
    pt = 1 / rng.uniform(1 / PT[1], 1 / PT[0], count)
    eta = rng.uniform(*ETA, count)
    phi = rng.uniform(-np.pi, np.pi, count)
    charge = rng.choice([-1, 1], count)
    pdg = np.where(rng.random(count) < 0.5, charge * PION, -charge * MUON)
    vertices = count // PARTICLES_PER_VERTEX
    number = rng.integers(vertices, size=count)
    vertex = rng.normal(0, VERTEX_SPREAD, (vertices, 3))[number]
    return GunParticles(np.stack([pt, eta, phi], -1), charge, vertex, number, pdg)
