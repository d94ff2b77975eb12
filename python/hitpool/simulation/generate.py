"""The `simulate` command: generate events with all cores and write a data set."""

from __future__ import annotations

import functools
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hitpool.cores import available_cores
from hitpool.files import Events, produced, write_data_set
from hitpool.simulation.events import generate_events
from hitpool.simulation.readout import HIT_FEATURES, TRACK_FEATURES
from hitpool.simulation.settings import Background, Preset, Settings, Spectrum

GENERATOR_VERSION = 1  # grows when the same seed gives other events
EVENTS_PER_FILE, EVENTS_PER_BATCH = 10_000, 1_000
RAW_REDUCTION = 10  # raw events are a hundred times larger: shorter batches and files


def simulate(
    output: Path,
    events: int,
    seed: int = 1,
    preset: Preset = "full",
    spectrum: Spectrum = "mixture",
    pt: float = 50.0,
    background: Background = "normal",
    align: float = 0.0,
    split: int = 0,
    processes: int | None = None,
) -> None:
    """Generate a data set of muon events.

    The folder appears only when it is complete. The same seed, split and settings give the same files,
    whatever the number of processes.

    Args:
        output: Folder to write, which must not exist.
        events: Number of events; each has at least one track.
        seed: Seed of the random numbers.
        preset: "full" keeps the truth of the inner endcap wheel; "sample" hides it in 98 % of the tracks.
        spectrum: Transverse momenta: a mixture of J/psi, Z and ttbar, pdf ~ pt^-2, pdf ~ 1/pt (5 to 200 GeV),
            or one value.
        pt: Transverse momentum of the "fixed" spectrum (GeV), at least 5.
        background: Mean number of background hits: "clean" 13, "normal" 20, "dense" 35, "raw" 6830 and no hit
            filter.
        align: Spread of the alignment error of a station (mm).
        split: Number of the part of a sample; parts with the same seed are independent.
        processes: Number of processes; all available cores by default.

    Raises:
        ValueError: If a number or a choice is outside its range.
        FileExistsError: If the folder exists.
    """
    for name, value, least in (
        ("events", events, 1),
        ("seed", seed, 0),
        ("split", split, 0),
        ("processes", processes, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    settings = Settings(preset=preset, spectrum=spectrum, pt=pt, background=background, align=align)
    generator = {"version": GENERATOR_VERSION, "seed": seed, "split": split, "settings": asdict(settings)}
    reduction = RAW_REDUCTION if settings.raw else 1
    per_batch, per_file = EVENTS_PER_BATCH // reduction, EVENTS_PER_FILE // reduction
    sizes = [min(per_batch, events - start) for start in range(0, events, per_batch)]
    batch = functools.partial(generate_batch, seed=seed, split=split, settings=settings)
    processes = processes or available_cores()
    with closing(produced(batch, list(enumerate(sizes)), sizes, processes, f"simulating {output}")) as batches:
        write_data_set(
            output, batches, HIT_FEATURES, TRACK_FEATURES, generator, "hitpool simulate", per_file // per_batch
        )


def generate_batch(batch: tuple[int, int], seed: int, split: int, settings: Settings) -> Events:
    """One batch of a data set, with random numbers of its own.

    Args:
        batch: Number of the batch and its number of events.
        seed: Seed of the data set.
        split: Number of the part.
        settings: What to generate.

    Returns:
        The events of the batch.
    """
    number, events = batch
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, split, number])))
    return generate_events(rng, events, settings)
