"""Reads hits, true and fitted tracks of each event from the whiteboard of ACTS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import acts
import acts.examples
import numpy as np
from numpy.typing import NDArray

from hitpool.acts.columns import KALMAN_FEATURES, TRUTH_FEATURES
from hitpool.acts.detector import Detector
from hitpool.acts.gun import Gun, GunParticles
from hitpool.files import Events

LOC0, LOC1, PHI, THETA, Q_OVER_P = range(5)


class Recorder(acts.examples.IAlgorithm):
    """Keeps the hits and tracks of all events.

    Args:
        detector: Where the measurements are.
        gun: Knows the true particles of the event.
    """

    def __init__(self, detector: Detector, gun: Gun) -> None:
        acts.examples.IAlgorithm.__init__(self, "Recorder", acts.logging.WARNING)
        self.detector = detector
        self.gun = gun
        self.particles = self._read(acts.examples.SimParticleContainer, "particles_selected")
        self.measurements = self._read(acts.examples.MeasurementContainer, "measurements")
        self.hits_of = self._read(acts.examples.ParticleMeasurementsMap, "particle_measurements_map")
        self.fits = self._read(acts.examples.ConstTrackContainer, "kf_tracks")
        self.hits: list[NDArray[np.float64]] = []
        self.tracks: list[NDArray[np.float64]] = []

    def _read(self, kind: type, key: str) -> acts.examples.ReadDataHandle:
        handle = acts.examples.ReadDataHandle(self, kind, key)
        handle.initialize(key)
        return handle

    def execute(self, context: acts.examples.AlgorithmContext) -> acts.examples.ProcessCode:
        """Records one event."""
        store = context.eventStore
        hits = self._hits(self.measurements(store))
        barcodes = [particle.particleId for particle in self.particles(store)]
        hits_of = self.hits_of(store)
        for row, barcode in enumerate(barcodes):
            hits[list(hits_of.valuesFor(barcode)), -1] = row
        self.hits.append(hits)
        numbers = [self.gun.number(barcode) for barcode in barcodes]
        self.tracks.append(self._tracks(store, numbers, hits[:, -1].astype(np.int64)))
        return acts.examples.ProcessCode.SUCCESS

    def _hits(self, measurements: Any) -> NDArray[np.float64]:
        modules = [self.detector.module(measurement.geometryId) for measurement in measurements]
        numbers = np.array([module[:3] for module in modules]).reshape(-1, 3)
        origin = np.array([module.origin for module in modules]).reshape(-1, 3)
        axes = np.array([module.axes for module in modules]).reshape(-1, 2, 3)
        local = np.array([_local(measurement) for measurement in measurements]).reshape(-1, 4)
        points = origin + local[:, :1] * axes[:, 0] + local[:, 1:2] * axes[:, 1]
        return np.column_stack([points, numbers, axes[:, 0], axes[:, 1], local[:, 2:], np.full(len(modules), -1.0)])

    def _tracks(self, store: Any, numbers: list[int], link: NDArray[np.int64]) -> NDArray[np.float64]:
        """Columns of the tracks, [particles, columns].

        Args:
            store: The whiteboard.
            numbers: Of the particles in the gun.
            link: Row of the particle of each hit.
        """
        truth = [true_parameters(self.gun.particles, i) for i in numbers]
        fits = np.full((len(numbers), len(KALMAN_FEATURES)), np.nan)
        for fit in self.fits(store):
            if fit.hasReferenceSurface:
                fits[link[next(measurements_of(fit))]] = kalman_parameters(parameters(fit), covariance(fit))
        return np.column_stack([np.array(truth).reshape(-1, len(TRUTH_FEATURES)), fits])

    def events(self) -> Events:
        """All recorded events."""
        return Events(
            hits=np.concatenate(self.hits).astype(np.float32),
            num_hits=np.array([len(hits) for hits in self.hits]),
            tracks=np.concatenate(self.tracks).astype(np.float32),
            num_tracks=np.array([len(tracks) for tracks in self.tracks]),
        )


def measurements_of(track: Any) -> Iterator[int]:
    """Numbers of the measurements of a track, from the outside, without outliers."""
    for state in track.trackStatesReversed:
        if state.hasUncalibratedSourceLink and not state.typeFlags.isOutlier:
            yield acts.examples.IndexSourceLink.fromSourceLink(state.uncalibratedSourceLink).index()


def parameters(track: Any) -> NDArray[np.float64]:
    """d0 (mm), z0 (mm), phi, theta and q/p (1/GeV) of a track, [5]."""
    own = track.parameters
    return np.array([own[i] for i in range(Q_OVER_P + 1)])


def covariance(track: Any) -> NDArray[np.float64]:
    """Covariance of the `parameters` of a track, [5, 5]."""
    own, indices = track.covariance, range(Q_OVER_P + 1)
    return np.array([[own[i, j] for j in indices] for i in indices])


def _local(measurement: Any) -> tuple[float, float, float, float]:
    """Both coordinates and their variances."""
    local, variances = measurement.fullParameters, measurement.fullCovariance
    return local[LOC0], local[LOC1], variances[LOC0, LOC0], variances[LOC1, LOC1]


def true_parameters(particles: GunParticles, i: int) -> tuple[float, ...]:
    """The columns `TRUTH_FEATURES` of a particle.

    The bending between vertex and beam line (micrometres) is neglected: it changes d0 by less than 1e-7 mm.

    Args:
        particles: Particles of the event.
        i: Number of the particle.
    """
    (pt, eta, phi), (x, y, z) = particles.momentum[i], particles.vertex[i]
    d0 = y * np.cos(phi) - x * np.sin(phi)
    z0 = z - (x * np.cos(phi) + y * np.sin(phi)) * np.sinh(eta)
    return pt, eta, phi, float(particles.charge[i]), d0, z0


def kalman_parameters(parameters: NDArray[np.float64], covariance: NDArray[np.float64]) -> tuple[float, ...]:
    r"""The columns `KALMAN_FEATURES` from parameters at the beam line.

    With $q/p_T = (q/p) / \sin\theta$ and $\eta = -\ln\tan(\theta/2)$, errors by linear propagation.

    Args:
        parameters: d0 (mm), z0 (mm), phi, theta, q/p (1/GeV), [5].
        covariance: Their covariance, [5, 5]; a negative variance, which rounding can give, becomes NaN.
    """
    d0, z0, phi, theta, qop = parameters
    sine, cosine = np.sin(theta), np.cos(theta)
    qpt = qop / sine
    jacobian = np.zeros((5, 5))
    jacobian[0, [THETA, Q_OVER_P]] = -qpt * cosine / sine, 1 / sine
    jacobian[1, THETA] = -1 / sine
    jacobian[[2, 3, 4], [PHI, LOC0, LOC1]] = 1
    variances = np.diag(jacobian @ covariance @ jacobian.T)
    sigmas = np.sqrt(np.where(variances >= 0, variances, np.nan))
    return 1 / abs(qpt), np.arctanh(cosine), phi, np.sign(qpt), d0, z0, *sigmas
