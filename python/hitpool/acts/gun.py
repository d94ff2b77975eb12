"""The particle gun: muons as NumPy arrays, and as an algorithm of ACTS."""

from __future__ import annotations

from dataclasses import dataclass

import acts
import acts.examples
import acts.fatras
import numpy as np
from numpy.typing import NDArray

MUONS = (1, 3)  # in an event, uniform
PT = (1.0, 100.0)  # GeV, uniform in log(pT)
ETA = (-2.5, 2.5)  # uniform
VERTEX_SPREAD = (0.0125, 0.0125, 50.0)  # mm, Gaussian around the origin


@dataclass(frozen=True)
class GunMuons:
    """Muons of one event.

    Args:
        momentum: pT (GeV), eta, phi (rad), [N, 3].
        charge: +1 or -1, [N].
        vertex: x, y, z in mm, [N, 3].
    """

    momentum: NDArray[np.float64]
    charge: NDArray[np.int64]
    vertex: NDArray[np.float64]


def shoot(rng: np.random.Generator) -> GunMuons:
    """Draws the muons of one event; each has a vertex of its own.

    Args:
        rng: Source of random numbers.
    """
    count = int(rng.integers(MUONS[0], MUONS[1] + 1))
    low, high = np.log(PT)
    pt = np.exp(rng.uniform(low, high, count))
    eta = rng.uniform(*ETA, count)
    phi = rng.uniform(-np.pi, np.pi, count)
    charge = rng.choice([-1, 1], count)
    return GunMuons(np.stack([pt, eta, phi], -1), charge, rng.normal(0, VERTEX_SPREAD, (count, 3)))


class Gun(acts.examples.IAlgorithm):
    """Writes the muons of each event as `particles_generated`; muon i has primary vertex i + 1.

    Args:
        rng: Source of random numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        acts.examples.IAlgorithm.__init__(self, "Gun", acts.logging.WARNING)
        self.rng = rng
        self.particles = acts.examples.WriteDataHandle(self, acts.examples.SimParticleContainer, "Particles")
        self.particles.initialize("particles_generated")
        self.muons: GunMuons

    def execute(self, context: acts.examples.AlgorithmContext) -> acts.examples.ProcessCode:
        """Shoots one event."""
        self.muons = shoot(self.rng)
        container = acts.examples.SimParticleContainer()
        for i, (pt, eta, phi) in enumerate(self.muons.momentum):
            barcode = acts.fatras.Barcode()
            barcode.vertexPrimary, barcode.particle = i + 1, 1
            code = acts.PdgParticle.eMuon if self.muons.charge[i] < 0 else acts.PdgParticle.eAntiMuon
            particle = acts.examples.SimParticle(barcode, code)
            particle.fourPosition = acts.Vector4(*self.muons.vertex[i], 0.0)
            particle.direction = acts.Vector3(np.cos(phi), np.sin(phi), np.sinh(eta))
            particle.absoluteMomentum = pt * np.cosh(eta) * acts.UnitConstants.GeV
            container.insert(particle)
        self.particles(context, container)
        return acts.examples.ProcessCode.SUCCESS
