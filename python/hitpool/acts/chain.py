"""The chain of ACTS algorithms: gun, Fatras, digitisation, track finding, Kalman filter with the true hits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import acts
import acts.examples
import numpy as np
from acts.examples.reconstruction import SeedingAlgorithm, TrackSmearingSigmas, addKalmanTracks, addSeeding
from acts.examples.simulation import ParticleSelectorConfig, addDigiParticleSelection, addDigitization, addFatras

from hitpool.acts.busy import shoot_busy
from hitpool.acts.detector import generic_detector, write_resolution
from hitpool.acts.digitization import digitization
from hitpool.acts.finding import Finder, FindingRecorder
from hitpool.acts.found import Batch
from hitpool.acts.gun import Gun, shoot
from hitpool.acts.noise import TRUE_HITS, Noise
from hitpool.acts.recorder import Recorder
from hitpool.acts.start import SIGMA_PT, SIGMA_QPT, SIGMAS

LEAST_MEASUREMENTS = 6  # of a true track; the hits of others are background
START = TrackSmearingSigmas(*[0.0] * len(TrackSmearingSigmas._fields))  # the Kalman filter starts from the truth


def run(batch: tuple[int, int], seed: int, split: int, profile: str) -> Batch:
    """One batch of a data set, with random numbers of its own.

    Fatras simulates multiple scattering and energy loss. The Kalman filter gets the measurements of each true track and
    starts at the true parameters, as in ACTS's own example of truth tracking: its linearisation is then the best there
    is. The errors of the start are so much larger than those of the result that it hardly counts as a measurement.

    Args:
        batch: Number of the batch and its number of events.
        seed: Seed of the data set.
        split: Number of the part.
        profile: Of the events, "muons" or "busy".

    Returns:
        The events of the batch.
    """
    number, events = batch
    busy = profile == "busy"
    sequence = np.random.SeedSequence([seed, split, number])
    gun = Gun(np.random.Generator(np.random.PCG64(sequence)), shoot_busy if busy else shoot)
    random = acts.examples.RandomNumbers(seed=int(sequence.generate_state(1, np.uint64)[0]))
    detector = generic_detector()
    geometry, field = detector.geometry, detector.field
    recorder = FindingRecorder(detector, gun) if busy else Recorder(detector, gun)

    chain = acts.examples.Sequencer(events=events, numThreads=1, logLevel=acts.logging.WARNING, trackFpes=False)
    chain.addAlgorithm(gun)
    chain.addWhiteboardAlias("particles_generated_selected", "particles_generated")
    addFatras(chain, geometry, field, random, outputSimHits=TRUE_HITS if busy else "simhits")
    if busy:
        chain.addAlgorithm(Noise(detector, np.random.Generator(np.random.PCG64(sequence.spawn(1)[0]))))
    with tempfile.TemporaryDirectory() as folder:
        resolution = write_resolution(Path(folder, "resolution.json"))
        if busy:
            chain.addAlgorithm(digitization(detector, resolution, random))
        else:
            addDigitization(chain, geometry, field, resolution, rnd=random)
        addDigiParticleSelection(
            chain, ParticleSelectorConfig(measurements=(LEAST_MEASUREMENTS, None), removeSecondaries=True)
        )
        finder = Finder(chain, detector, Path(folder)) if busy else None
    addSeeding(
        chain,
        geometry,
        field,
        seedingAlgorithm=SeedingAlgorithm.TruthSmeared,
        particleHypothesis=None if busy else acts.ParticleHypothesis.muon,  # None: that of the particle
        trackSmearingSigmas=START,
        initialSigmas=SIGMAS,
        initialSigmaQoverPt=SIGMA_QPT,
        initialSigmaPtRel=SIGMA_PT,
        initialVarInflation=[1.0] * 6,
        rnd=random,
    )
    addKalmanTracks(chain, geometry, field)
    chain.addAlgorithm(recorder)
    chain.run()
    return Batch(recorder.events(), recorder.found(finder.seconds()) if finder else None)
