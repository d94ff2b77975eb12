"""Fits of given lists of hits with ACTS's Kalman filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import acts
import acts.examples
import numpy as np
from acts.examples.reconstruction import addKalmanTracks
from numpy.typing import NDArray

from hitpool.acts.busy import PION
from hitpool.acts.columns import KALMAN_FEATURES
from hitpool.acts.detector import generic_detector
from hitpool.acts.gun import MUON
from hitpool.acts.measured import Measured, measured
from hitpool.acts.recorder import covariance, kalman_parameters, measurements_of, parameters
from hitpool.acts.start import SIGMA_PT, SIGMA_QPT, SIGMAS

UNSMEARED = [
    *(f"sigma{name}{part}" for name in ("Loc0", "Loc1") for part in ("", "PtA", "PtB")),
    *("sigmaPhi", "sigmaTheta", "sigmaPtRel", "sigmaTime"),
]
SILENT = acts.logging.FATAL  # a fit that fails is counted, not reported


class Candidates(NamedTuple):
    """Tracks of an event that are to be fitted.

    Args:
        hits: The columns `MEASURED` of the hits of the event, [M, 8].
        tracks: Rows of the hits of each of T tracks; one may be in several.
        start: d0, z0 (mm), phi, theta, q/p (1/GeV) of each at the beam line, [T, 5].
    """

    hits: NDArray[np.floating]
    tracks: Sequence[NDArray[np.int64]]
    start: NDArray[np.float64]


def refit(events: Sequence[Candidates], muons: bool) -> list[NDArray[np.float64]]:
    """Fits tracks as `hitpool acts` fits the true ones.

    The filter starts from the given parameters, with errors so wide that they hardly count as a measurement.

    Args:
        events: The tracks of each event.
        muons: Whether they lose energy as muons; else as pions.

    Returns:
        The columns `KALMAN_FEATURES` of each track of each event, NaN where the fit failed, [T, 11].

    Raises:
        ValueError: If a hit is not in the detector.
    """
    detector = generic_detector()
    chain = acts.examples.Sequencer(events=len(events), numThreads=1, logLevel=SILENT, trackFpes=False)
    hits = [measured(detector, event.hits) for event in events]
    chain.addAlgorithm(_Given(hits, events, MUON if muons else -PION))
    chain.addAlgorithm(
        acts.examples.ParticleTrackParamExtractor(
            level=SILENT, inputParticles="particles", outputTrackParameters="trueparameters"
        )
    )
    chain.addAlgorithm(
        acts.examples.TrackParameterSmearing(
            level=SILENT,
            inputTrackParameters="trueparameters",
            outputTrackParameters="estimatedparameters",
            randomNumbers=acts.examples.RandomNumbers(seed=0),  # what it draws is multiplied by 0
            **dict.fromkeys(UNSMEARED, 0.0),
            initialSigmas=SIGMAS,
            initialSigmaQoverPt=SIGMA_QPT,
            initialSigmaPtRel=SIGMA_PT,
            initialVarInflation=[1.0] * 6,
        )
    )
    addKalmanTracks(chain, detector.geometry, detector.field, inputProtoTracks="given_tracks")
    results = _Results([[len(track) for track in event.tracks] for event in events])
    chain.addAlgorithm(results)
    chain.run()
    return results.fits


class _Given(acts.examples.IAlgorithm):
    """Writes the tracks of an event as particles, which say where their fit starts, and lists of measurements.

    Each track has measurements of its own, in the order of the tracks, so that these tell which one was fitted.

    Args:
        hits: Measurements of each event.
        events: The tracks of each event.
        negative: PDG code of the negative particle.
    """

    def __init__(self, hits: Sequence[Measured], events: Sequence[Candidates], negative: int) -> None:
        acts.examples.IAlgorithm.__init__(self, "Given", SILENT)
        self.hits = hits
        self.events = events
        self.negative = negative
        self.particles = self._write(acts.examples.SimParticleContainer, "particles")
        self.measurements = self._write(acts.examples.MeasurementContainer, "measurements")
        self.tracks = self._write(acts.examples.ProtoTrackContainer, "given_tracks")
        self.truth = self._write(acts.examples.MeasurementParticlesMap, "measurement_particles_map")

    def _write(self, kind: type, key: str) -> acts.examples.WriteDataHandle:
        handle = acts.examples.WriteDataHandle(self, kind, key)
        handle.initialize(key)
        return handle

    def execute(self, context: acts.examples.AlgorithmContext) -> acts.examples.ProcessCode:
        """Writes one event."""
        hits, event = self.hits[context.eventNumber], self.events[context.eventNumber]
        particles, measurements = acts.examples.SimParticleContainer(), acts.examples.MeasurementContainer()
        tracks = acts.examples.ProtoTrackContainer()
        for i, (rows, start) in enumerate(zip(event.tracks, event.start, strict=True)):
            particles.insert(_particle(i, start, self.negative))
            first = len(measurements)
            hits.add_to(measurements, rows)
            tracks.append(acts.examples.ProtoTrack(range(first, first + len(rows))))
        self.particles(context, particles)
        self.measurements(context, measurements)
        self.tracks(context, tracks)
        self.truth(context, acts.examples.MeasurementParticlesMap())
        return acts.examples.ProcessCode.SUCCESS


def _particle(i: int, start: NDArray[np.float64], negative: int) -> acts.examples.SimParticle:
    """Particle i at the beam line, with a vertex of its own: ACTS gives the particles of a vertex one position."""
    d0, z0, phi, theta, qop = start.tolist()
    barcode = acts.fatras.Barcode()
    barcode.vertexPrimary, barcode.particle = i + 1, 1
    particle = acts.examples.SimParticle(barcode, acts.PdgParticle(negative if qop < 0 else -negative))
    particle.fourPosition = acts.Vector4(-d0 * np.sin(phi), d0 * np.cos(phi), z0, 0.0)
    particle.direction = acts.Vector3(np.cos(phi) * np.sin(theta), np.sin(phi) * np.sin(theta), np.cos(theta))
    particle.absoluteMomentum = acts.UnitConstants.GeV / abs(qop)
    return particle


class _Results(acts.examples.IAlgorithm):
    """Keeps the fits of each event.

    Args:
        sizes: Number of measurements of each track of each event.
    """

    def __init__(self, sizes: Sequence[Sequence[int]]) -> None:
        acts.examples.IAlgorithm.__init__(self, "Results", SILENT)
        self.owner = [np.repeat(np.arange(len(event)), event) for event in sizes]  # track of each measurement
        self.fits = [np.full((len(event), len(KALMAN_FEATURES)), np.nan) for event in sizes]
        self.tracks = acts.examples.ReadDataHandle(self, acts.examples.ConstTrackContainer, "kf_tracks")
        self.tracks.initialize("kf_tracks")

    def execute(self, context: acts.examples.AlgorithmContext) -> acts.examples.ProcessCode:
        """Keeps those of one event."""
        event = context.eventNumber
        for track in self.tracks(context.eventStore):
            if track.hasReferenceSurface:
                row = self.owner[event][next(measurements_of(track))]
                self.fits[event][row] = kalman_parameters(parameters(track), covariance(track))
        return acts.examples.ProcessCode.SUCCESS
