"""ACTS's own track finding: seeds, combinatorial Kalman filter, ambiguity resolution."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import acts
import acts.examples
import numpy as np
from acts.examples.reconstruction import (
    AmbiguityResolutionConfig,
    CkfConfig,
    SeedFinderConfigArg,
    SeedFinderOptionsArg,
    SeedingAlgorithm,
    TrackSelectorConfig,
    addAmbiguityResolution,
    addCKFTracks,
    addSeeding,
)
from numpy.typing import NDArray

from hitpool.acts.columns import CKF_FEATURES
from hitpool.acts.detector import FIELD, Detector
from hitpool.acts.found import Found
from hitpool.acts.gun import Gun
from hitpool.acts.recorder import Recorder, covariance, kalman_parameters, measurements_of, parameters
from hitpool.double_majority import match

PREFIX = "found_"  # of what the whiteboard holds
PIXELS = (7, 8, 9)  # volumes that seeds come from
MM, GEV = acts.UnitConstants.mm, acts.UnitConstants.GeV

SEEDS = SeedFinderConfigArg(
    r=(None, 200 * MM),
    deltaR=(1 * MM, 300 * MM),
    collisionRegion=(-250 * MM, 250 * MM),
    z=(-2000 * MM, 2000 * MM),
    maxSeedsPerSpM=2,  # 1 in the example
    sigmaScattering=5,
    radLengthPerSeed=0.1,
    minPt=0.4 * GEV,  # 0.5 in the example
    impactMax=3 * MM,
)
START = {  # errors of the parameters that a seed gives
    "initialSigmas": [1 * MM, 1 * MM, math.radians(1), math.radians(1), 0.0, acts.UnitConstants.ns],
    "initialSigmaQoverPt": 0.1 / GEV,
    "initialSigmaPtRel": 0.1,
    "initialVarInflation": [1.0] * 6,
}
SELECTION = TrackSelectorConfig(
    pt=(0.0, None),
    absEta=(None, 3.0),
    loc0=(-4 * MM, 4 * MM),
    nMeasurementsMin=7,
    maxHoles=3,  # 2 in the example
    maxOutliers=3,  # 2 in the example
)
FILTER = CkfConfig(
    chi2CutOffMeasurement=25.0,  # 15 in the example
    chi2CutOffOutlier=40.0,  # 25 in the example
    numMeasurementsCutOff=10,
    seedDeduplication=True,
    stayOnSeed=True,
)
AMBIGUITIES = AmbiguityResolutionConfig(maximumSharedHits=3, maximumIterations=1_000_000, nMeasurementsMin=7)


class Clock(acts.examples.IAlgorithm):
    """Keeps the CPU time of the process when each event comes here.

    Args:
        name: Of the algorithm.
    """

    def __init__(self, name: str) -> None:
        acts.examples.IAlgorithm.__init__(self, name, acts.logging.WARNING)
        self.seconds: list[float] = []

    def execute(self, context: acts.examples.AlgorithmContext) -> acts.examples.ProcessCode:
        """Reads the time."""
        self.seconds.append(time.process_time())
        return acts.examples.ProcessCode.SUCCESS


class Finder:
    """Adds the track finding to a chain, with the settings of ACTS's examples for the generic detector.

    Some of them are more generous, because it finds more with them and no more fakes: seeds from 0.4 GeV, 2 of them for
    each middle space point, 3 holes and 3 outliers in a track, and higher limits of chi2 of a hit.

    Args:
        chain: The chain, which has digitised measurements and selected particles.
        detector: Geometry and field.
        folder: For a file that ACTS reads.
    """

    def __init__(self, chain: acts.examples.Sequencer, detector: Detector, folder: Path) -> None:
        self._start, self._stop = Clock("Start"), Clock("Stop")
        layers = folder / "seeds.json"
        layers.write_text(json.dumps([{"volume": volume} for volume in PIXELS]), encoding="utf-8")
        chain.addWhiteboardAlias(f"{PREFIX}measurement_subset", "measurement_subset")
        chain.addAlgorithm(self._start)
        addSeeding(
            chain,
            detector.geometry,
            detector.field,
            seedingAlgorithm=SeedingAlgorithm.GridTriplet,
            seedFinderConfigArg=SEEDS,
            seedFinderOptionsArg=SeedFinderOptionsArg(bFieldInZ=FIELD * acts.UnitConstants.T, beamPos=(0.0, 0.0)),
            geoSelectionConfigFile=layers,
            prefix=PREFIX,
            **START,
        )
        addCKFTracks(chain, detector.geometry, detector.field, SELECTION, FILTER, prefix=PREFIX)
        addAmbiguityResolution(chain, AMBIGUITIES, prefix=PREFIX)
        chain.addAlgorithm(self._stop)

    def seconds(self) -> NDArray[np.float64]:
        """CPU time of the track finding in each event so far, with the truth matching that ACTS adds to it."""
        return np.array(self._stop.seconds) - np.array(self._start.seconds)


class FindingRecorder(Recorder):
    """Keeps the found tracks, too, and the best one beside its particle.

    Args:
        detector: Where the measurements are.
        gun: Knows the true particles of the event.
    """

    def __init__(self, detector: Detector, gun: Gun) -> None:
        super().__init__(detector, gun)
        self.found_tracks = self._read(acts.examples.ConstTrackContainer, f"{PREFIX}ambi_tracks")
        self._events: list[Found] = []

    def _tracks(self, store: Any, numbers: list[int], link: NDArray[np.int64]) -> NDArray[np.float64]:
        tracks = list(self.found_tracks(store))
        hits = [list(measurements_of(track))[::-1] for track in tracks]
        num_hits = np.array([len(own) for own in hits], np.int32)
        rows = np.array([hit for own in hits for hit in own], np.int32)
        sizes = np.bincount(link[link >= 0], minlength=len(numbers))
        particle, _, duplicate = match(np.repeat(np.arange(len(hits)), num_hits), link[rows], num_hits, sizes)
        values, errors = np.full((len(tracks), 5), np.nan), np.full((len(tracks), 5, 5), np.nan)
        columns = np.full((len(numbers), len(CKF_FEATURES)), np.nan)
        for i, track in enumerate(tracks):
            if track.hasReferenceSurface:
                values[i], errors[i] = parameters(track), covariance(track)
                if particle[i] >= 0 and not duplicate[i]:
                    columns[particle[i]] = kalman_parameters(values[i], errors[i])
        self._events.append(
            Found(
                num_tracks=np.array([len(tracks)], np.int32),
                num_hits=num_hits,
                hits=rows,
                particle=particle.astype(np.int32),
                duplicate=duplicate,
                parameters=values.astype(np.float32),
                covariance=errors.astype(np.float32),
                num_particles=np.array([len(numbers)], np.int32),
                seconds=np.zeros(1),
            )
        )
        return np.column_stack([super()._tracks(store, numbers, link), self.gun.particles.pdg[numbers], columns])

    def found(self, seconds: NDArray[np.float64]) -> Found:
        """The found tracks of all recorded events.

        Args:
            seconds: CPU time of each event.
        """
        return replace(Found.concatenate(self._events), seconds=seconds)
