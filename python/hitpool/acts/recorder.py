"""Reads hits, true and fitted tracks of each event from the whiteboard of ACTS."""

from __future__ import annotations

from typing import Any

import acts
import acts.examples
import numpy as np
from numpy.typing import NDArray

from hitpool.acts.columns import HIT_FEATURES, KALMAN_FEATURES, TRACK_FEATURES
from hitpool.acts.detector import Detector
from hitpool.acts.gun import Gun, GunMuons
from hitpool.files import Events

LOC0, LOC1, PHI, THETA, Q_OVER_P = range(5)


class Recorder(acts.examples.IAlgorithm):
    """Keeps the hits and tracks of all events.

    Args:
        detector: Where the measurements are.
        gun: Knows the true muons of the event.
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
        hits = [self._hit(measurement) for measurement in self.measurements(store)]
        self.hits.append(np.array(hits).reshape(-1, len(HIT_FEATURES)))
        hits_of, link = self.hits_of(store), self.hits[-1][:, -1]
        tracks = []
        for row, particle in enumerate(self.particles(store)):
            link[list(hits_of.valuesFor(particle.particleId))] = row
            truth = true_parameters(self.gun.muons, particle.particleId.vertexPrimary - 1)
            tracks.append([*truth, *[np.nan] * len(KALMAN_FEATURES)])
        for fit in self.fits(store):
            if fit.hasReferenceSurface:
                row = int(link[_first_measurement(fit)])
                tracks[row][-len(KALMAN_FEATURES) :] = kalman_parameters(
                    _vector(fit.parameters), _matrix(fit.covariance)
                )
        self.tracks.append(np.array(tracks).reshape(-1, len(TRACK_FEATURES)))
        return acts.examples.ProcessCode.SUCCESS

    def _hit(self, measurement: Any) -> list[float]:
        module = self.detector.module(measurement.geometryId)
        local, covariance = measurement.fullParameters, measurement.fullCovariance
        x, y, z = module.origin + local[LOC0] * module.axes[0] + local[LOC1] * module.axes[1]
        variances = covariance[LOC0, LOC0], covariance[LOC1, LOC1]
        return [x, y, z, module.volume, module.layer, module.number, *module.axes[0], *module.axes[1], *variances, -1.0]

    def events(self) -> Events:
        """All recorded events."""
        return Events(
            hits=np.concatenate(self.hits).astype(np.float32),
            num_hits=np.array([len(hits) for hits in self.hits]),
            tracks=np.concatenate(self.tracks).astype(np.float32),
            num_tracks=np.array([len(tracks) for tracks in self.tracks]),
        )


def _first_measurement(fit: Any) -> int:
    for state in fit.trackStatesReversed:
        if state.hasUncalibratedSourceLink:
            return int(acts.examples.IndexSourceLink.fromSourceLink(state.uncalibratedSourceLink).index())
    raise RuntimeError("the Kalman filter gave a track without a measurement")


def _vector(parameters: Any) -> NDArray[np.float64]:
    return np.array([parameters[i] for i in range(Q_OVER_P + 1)])


def _matrix(covariance: Any) -> NDArray[np.float64]:
    indices = range(Q_OVER_P + 1)
    return np.array([[covariance[i, j] for j in indices] for i in indices])


def true_parameters(muons: GunMuons, i: int) -> tuple[float, ...]:
    """The columns `TRUTH_FEATURES` of a muon.

    The bending between vertex and beam line (micrometres) is neglected: it changes d0 by less than 1e-7 mm.

    Args:
        muons: Muons of the event.
        i: Number of the muon.
    """
    (pt, eta, phi), (x, y, z) = muons.momentum[i], muons.vertex[i]
    d0 = y * np.cos(phi) - x * np.sin(phi)
    z0 = z - (x * np.cos(phi) + y * np.sin(phi)) * np.sinh(eta)
    return pt, eta, phi, float(muons.charge[i]), d0, z0


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
