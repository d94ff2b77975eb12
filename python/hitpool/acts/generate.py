"""The `acts` command: events in the generic detector of ACTS."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from hitpool.acts.columns import BUSY_TRACK_FEATURES, HIT_FEATURES, TRACK_FEATURES, TRUTH_LINK, UNITS
from hitpool.acts.found import FINDER, Batch, Found
from hitpool.acts.installed import require_acts
from hitpool.cores import available_cores
from hitpool.files import Events, produced, write_data_set

GENERATOR_VERSION = 1  # grows when the same seed gives other events
EVENTS_PER_BATCH, BATCHES_PER_FILE = {"muons": 500, "busy": 100}, 20


def acts(
    output: Path,
    events: int,
    seed: int = 1,
    split: int = 0,
    workers: int | None = None,
    profile: Literal["muons", "busy"] = "muons",
) -> None:
    """Simulate muons or busy events in the generic inner detector of ACTS and fit them with its Kalman filter.

    Fatras propagates the particles through a field of 2 T with multiple scattering and energy loss. The measurements
    (50 x 50 um pixels, 80 um x 1.2 mm and 120 um x 10.8 mm strips) are Gaussian with the cell width / sqrt(12). Tracks
    have at least 6 of them; the hits of other particles are background. The Kalman filter gets the hits of each true
    track; its results are the columns kalman_* of the tracks, NaN where it failed. Vertices are Gaussian around the
    origin, 12.5 um in x and y, 50 mm in z.

    An event of "muons" has 1 to 3 of either charge (uniform) with pT from 1 to 100 GeV (uniform in log pT), |eta| < 2.5
    (uniform), and vertices of their own.

    An event of "busy" has 20 to 60 particles (uniform), muons and charged pions, half of each, with pT from 0.5 to 20
    GeV (density proportional to pT^-2) and |eta| < 2.5 (uniform), from 4 to 12 vertices, one for 5 particles. 3 % of
    the hits are lost; noise hits are 10 to 30 % of the others (uniform, for each event), in each layer in proportion to
    its hits. ACTS finds tracks in them: the best one of each particle is in the columns ckf_*, NaN where there is none;
    all are in ckf.h5. The summary of the track finding is printed, and kept in metadata.yaml.

    The folder appears only when it is complete. The same seed and split give the same events, whatever the number
    of workers.

    Args:
        output: Folder to write, which must not exist.
        events: Number of events.
        seed: Seed of the random numbers.
        split: Number of the part of a sample; parts with the same seed are independent.
        workers: Number of processes; all available cores by default.
        profile: What an event is like.

    Raises:
        ModuleNotFoundError: If ACTS is not installed.
        ValueError: If a number is outside its range.
        FileExistsError: If the folder exists.
    """
    require_acts()
    for name, value, least in (("events", events, 1), ("seed", seed, 0), ("split", split, 0), ("workers", workers, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    generator: dict[str, Any] = {"version": GENERATOR_VERSION, "acts": _acts_version(), "seed": seed, "split": split}
    size = EVENTS_PER_BATCH[profile]
    sizes = [min(size, events - start) for start in range(0, events, size)]
    batch = functools.partial(_run, seed=seed, split=split, profile=profile)
    workers = workers or available_cores()
    if profile != "muons":
        generator["profile"] = profile
    columns = TRACK_FEATURES if profile == "muons" else BUSY_TRACK_FEATURES
    more = {"truth_link": TRUTH_LINK, "units": UNITS}
    found: list[Found] = []
    summary: dict[str, dict[str, Any]] = {}

    def last(folder: Path) -> dict[str, dict[str, Any]]:
        if found:
            summary[FINDER] = Found.concatenate(found).write(folder)
        return summary

    with closing(produced(batch, list(enumerate(sizes)), sizes, workers, f"simulating {output}")) as batches:
        kept = _events(batches, found)
        write_data_set(output, kept, HIT_FEATURES, columns, generator, "hitpool acts", BATCHES_PER_FILE, more, last)
    for own in summary.values():
        print(
            f"CKF of ACTS: {own['found']} of {own['particles']} particles found, {own['fakes']} fakes, "
            f"{own['duplicates']} duplicates, {own['milliseconds_per_event']} ms per event on one core"
        )


def _events(batches: Generator[Batch, None, None], found: list[Found]) -> Generator[Events, None, None]:
    """The events of all batches; what was found in them is appended to `found`."""
    for batch in batches:
        if batch.found is not None:
            found.append(batch.found)
        yield batch.events


def _acts_version() -> str:
    try:
        return importlib.metadata.version("pyacts")
    except importlib.metadata.PackageNotFoundError:
        return "built from source"


def _run(batch: tuple[int, int], seed: int, split: int, profile: str) -> Batch:
    from hitpool.acts.chain import run  # in the process that uses it: ACTS is not forked

    return run(batch, seed, split, profile)
