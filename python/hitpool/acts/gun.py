"""The particle gun: particles as NumPy arrays, and as an algorithm of ACTS."""

from __future__ import annotations

from collections.abc import Callable
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
MUON = 13  # PDG code of the negative one


@dataclass(frozen=True)
class GunParticles:
    """Particles of one event.

    Args:
        momentum: pT (GeV), eta, phi (rad), [N, 3].
        charge: +1 or -1, [N].
        vertex: x, y, z in mm, [N, 3].
        vertex_number: From 0, the same for particles from one vertex, [N].
        pdg: PDG codes, [N].
    """

    momentum: NDArray[np.float64]
    charge: NDArray[np.int64]
    vertex: NDArray[np.float64]
    vertex_number: NDArray[np.int64]
    pdg: NDArray[np.int64]


def shoot(rng: np.random.Generator) -> GunParticles:
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
    vertex = rng.normal(0, VERTEX_SPREAD, (count, 3))
    return GunParticles(np.stack([pt, eta, phi], -1), charge, vertex, np.arange(count), -charge * MUON)


class Gun(acts.examples.IAlgorithm):
    """Writes the particles of each event as `particles_generated`.

    Args:
        rng: Source of random numbers.
        shoot: Draws the particles of one event.
    """

    def __init__(self, rng: np.random.Generator, shoot: Callable[[np.random.Generator], GunParticles] = shoot) -> None:
        acts.examples.IAlgorithm.__init__(self, "Gun", acts.logging.WARNING)
        self.rng = rng
        self.shoot = shoot
        self.output = acts.examples.WriteDataHandle(self, acts.examples.SimParticleContainer, "Particles")
        self.output.initialize("particles_generated")
        self.particles: GunParticles
        self._numbers: dict[tuple[int, int], int]  # by vertex and by number in the vertex, both from 1

    def number(self, barcode: acts.fatras.Barcode) -> int:
        """Number of a particle in `particles`.

        Args:
            barcode: What ACTS calls it.
        """
        return self._numbers[barcode.vertexPrimary, barcode.particle]

    def execute(self, context: acts.examples.AlgorithmContext) -> acts.examples.ProcessCode:
        """Shoots one event."""
        self.particles = self.shoot(self.rng)
        self._numbers = {}
        in_vertex = [0] * len(self.particles.pdg)
        container = acts.examples.SimParticleContainer()
        for i, (pt, eta, phi) in enumerate(self.particles.momentum):
            vertex = int(self.particles.vertex_number[i])
            in_vertex[vertex] += 1
            barcode = acts.fatras.Barcode()
            barcode.vertexPrimary, barcode.particle = vertex + 1, in_vertex[vertex]
            self._numbers[vertex + 1, in_vertex[vertex]] = i
            particle = acts.examples.SimParticle(barcode, acts.PdgParticle(int(self.particles.pdg[i])))
            particle.fourPosition = acts.Vector4(*self.particles.vertex[i], 0.0)
            particle.direction = acts.Vector3(np.cos(phi), np.sin(phi), np.sinh(eta))
            particle.absoluteMomentum = pt * np.cosh(eta) * acts.UnitConstants.GeV
            container.insert(particle)
        self.output(context, container)
        return acts.examples.ProcessCode.SUCCESS
