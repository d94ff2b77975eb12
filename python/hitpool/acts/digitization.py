"""The digitisation without a hit that it gives up."""

from __future__ import annotations

from pathlib import Path

import acts
import acts.examples
import acts.examples.json

from hitpool.acts.detector import Detector

RETRIES = 1000  # 10 in ACTS: one hit in 100,000, in the corner of a module, finds no place in it
KEYS = {
    "inputSimHits": "simhits",
    "outputMeasurements": "measurements",
    "outputMeasurementParticlesMap": "measurement_particles_map",
    "outputMeasurementSimHitsMap": "measurement_simhits_map",
    "outputParticleMeasurementsMap": "particle_measurements_map",
    "outputSimHitMeasurementsMap": "simhit_measurements_map",
}


def digitization(
    detector: Detector, resolution: Path, random: acts.examples.RandomNumbers
) -> acts.examples.DigitizationAlgorithm:
    """The algorithm that `addDigitization` of ACTS adds, but for `RETRIES`.

    A measurement outside its module is drawn again. If a hit is given up, ACTS's TruthTrackFinder, which takes the
    number of a hit for that of its measurement, puts the measurements of this event in a wrong order.

    Args:
        detector: Where the modules are.
        resolution: What `write_resolution` has written.
        random: Source of random numbers.
    """
    config = acts.examples.DigitizationAlgorithm.Config(
        digitizationConfigs=acts.examples.json.readDigiConfigFromJson(str(resolution)),
        surfaceByIdentifier=detector.geometry.geoIdSurfaceMap(),
        randomNumbers=random,
        minMaxRetries=RETRIES,
        **KEYS,
    )
    return acts.examples.DigitizationAlgorithm(config, acts.logging.WARNING)
