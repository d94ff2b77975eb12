"""The chain of ACTS algorithms: gun, Fatras, digitisation, Kalman filter with the true assignment of hits."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import acts
import acts.examples
import numpy as np
from acts.examples.reconstruction import SeedingAlgorithm, TrackSmearingSigmas, addKalmanTracks, addSeeding
from acts.examples.simulation import ParticleSelectorConfig, addDigiParticleSelection, addDigitization, addFatras

from hitpool.acts.detector import generic_detector, write_resolution
from hitpool.acts.gun import Gun
from hitpool.acts.recorder import Recorder
from hitpool.files import Events

LEAST_MEASUREMENTS = 6  # of a true track; the hits of others are background
START = TrackSmearingSigmas(*[0.0] * len(TrackSmearingSigmas._fields))  # the Kalman filter starts from the truth
START_SIGMAS = [1.0, 1.0, math.radians(1), math.radians(1), 0.0, 1.0]  # d0, z0 (mm), phi, theta, q/p, time
START_SIGMA_QPT, START_SIGMA_PT = 0.1, 0.1  # 1/GeV and relative


def run(batch: tuple[int, int], seed: int, split: int) -> Events:
    """One batch of a data set, with random numbers of its own.

    Fatras simulates multiple scattering and energy loss. The Kalman filter gets the measurements of each true track and
    starts at the true parameters, as in ACTS's own example of truth tracking: its linearisation is then the best there
    is. The errors of the start are so much larger than those of the result that it hardly counts as a measurement.

    Args:
        batch: Number of the batch and its number of events.
        seed: Seed of the data set.
        split: Number of the part.

    Returns:
        The events of the batch.
    """
    number, events = batch
    sequence = np.random.SeedSequence([seed, split, number])
    gun = Gun(np.random.Generator(np.random.PCG64(sequence)))
    random = acts.examples.RandomNumbers(seed=int(sequence.generate_state(1, np.uint64)[0]))
    detector = generic_detector()
    geometry, field = detector.geometry, detector.field
    recorder = Recorder(detector, gun)

    chain = acts.examples.Sequencer(events=events, numThreads=1, logLevel=acts.logging.WARNING, trackFpes=False)
    chain.addAlgorithm(gun)
    chain.addWhiteboardAlias("particles_generated_selected", "particles_generated")
    addFatras(chain, geometry, field, random)
    with tempfile.TemporaryDirectory() as folder:
        addDigitization(chain, geometry, field, write_resolution(Path(folder, "resolution.json")), rnd=random)
    addDigiParticleSelection(
        chain, ParticleSelectorConfig(measurements=(LEAST_MEASUREMENTS, None), removeSecondaries=True)
    )
    addSeeding(
        chain,
        geometry,
        field,
        seedingAlgorithm=SeedingAlgorithm.TruthSmeared,
        particleHypothesis=acts.ParticleHypothesis.muon,
        trackSmearingSigmas=START,
        initialSigmas=START_SIGMAS,
        initialSigmaQoverPt=START_SIGMA_QPT,
        initialSigmaPtRel=START_SIGMA_PT,
        initialVarInflation=[1.0] * 6,
        rnd=random,
    )
    addKalmanTracks(chain, geometry, field)
    chain.addAlgorithm(recorder)
    chain.run()
    return recorder.events()
