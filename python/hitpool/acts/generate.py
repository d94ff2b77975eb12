"""The `acts` command: muons in the generic detector of ACTS."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from contextlib import closing
from pathlib import Path

from hitpool.acts.columns import HIT_FEATURES, TRACK_FEATURES, TRUTH_LINK, UNITS
from hitpool.cores import available_cores
from hitpool.files import Events, produced, write_data_set

GENERATOR_VERSION = 1  # grows when the same seed gives other events
EVENTS_PER_BATCH, BATCHES_PER_FILE = 500, 20


def acts(output: Path, events: int, seed: int = 1, split: int = 0, workers: int | None = None) -> None:
    """Simulate muons in the generic inner detector of ACTS and fit them with its Kalman filter.

    Each event has 1 to 3 muons of either charge (uniform) with pT from 1 to 100 GeV (uniform in log pT), |eta| < 2.5
    (uniform), and vertices of their own: Gaussian around the origin, 12.5 um in x and y, 50 mm in z. Fatras propagates
    them through a field of 2 T with multiple scattering and energy loss. The measurements (50 x 50 um pixels, 80 um x
    1.2 mm and 120 um x 10.8 mm strips) are Gaussian with the cell width / sqrt(12). Tracks have at least 6 of them; the
    hits of other particles are background. The Kalman filter gets the hits of each true track; its results are
    the columns kalman_* of the tracks, NaN where it failed.

    The folder appears only when it is complete. The same seed and split give the same events, whatever the number
    of workers.

    Args:
        output: Folder to write, which must not exist.
        events: Number of events.
        seed: Seed of the random numbers.
        split: Number of the part of a sample; parts with the same seed are independent.
        workers: Number of processes; all available cores by default.

    Raises:
        ModuleNotFoundError: If ACTS is not installed.
        ValueError: If a number is outside its range.
        FileExistsError: If the folder exists.
    """
    spec = importlib.util.find_spec("acts")
    if spec is None or spec.origin is None:  # a mere folder of that name has no origin
        raise ModuleNotFoundError('ACTS is not installed: pip install "hitpool[acts]"', name="acts")
    for name, value, least in (("events", events, 1), ("seed", seed, 0), ("split", split, 0), ("workers", workers, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    generator = {"version": GENERATOR_VERSION, "acts": _acts_version(), "seed": seed, "split": split}
    sizes = [min(EVENTS_PER_BATCH, events - start) for start in range(0, events, EVENTS_PER_BATCH)]
    batch = functools.partial(_run, seed=seed, split=split)
    workers = workers or available_cores()
    with closing(produced(batch, list(enumerate(sizes)), sizes, workers, f"simulating {output}")) as batches:
        more = {"truth_link": TRUTH_LINK, "units": UNITS}
        write_data_set(output, batches, HIT_FEATURES, TRACK_FEATURES, generator, "hitpool acts", BATCHES_PER_FILE, more)


def _acts_version() -> str:
    try:
        return importlib.metadata.version("pyacts")
    except importlib.metadata.PackageNotFoundError:
        return "built from source"


def _run(batch: tuple[int, int], seed: int, split: int) -> Events:
    from hitpool.acts.chain import run  # in the process that uses it: ACTS is not forked

    return run(batch, seed, split)
