"""The command `hitpool data convert`."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, fields
from pathlib import Path

import h5py
import numpy as np
from rich.console import Console
from rich.table import Table

from hitpool.conversion.cuts import Cuts, Step
from hitpool.conversion.job import convert
from hitpool.conversion.mapping import Mapping, read_mapping
from hitpool.conversion.share import EVERYTHING
from hitpool.conversion.units import FACTORS, is_known
from hitpool.cores import available_cores
from hitpool.parser import ArgumentParser

DESCRIPTION = """\
Makes a data set from flat ROOT ntuples: trees or RNTuples with a list of numbers per event in each branch. The same
command goes on after an interruption. Needs uproot: pip install 'hitpool[root]'.
"""
MAPPING_HELP = (
    "YAML file that says which branch becomes which column; without it, the branches of the ATLAS muon studies "
    "(spacePoint_*, truthMuon_*): hitpool/conversion/muon.yaml, to start from."
)
CUTS_HELP = {
    "min_pt": "Smallest pt of a track (GeV); null, here and below, and the default with --mapping: no cut.",
    "max_eta": "Largest |eta| of a track.",
    "min_hits_per_track": "Fewest hits of a track. Hits of tracks that are cut become background.",
    "min_tracks": "Fewest tracks of an event, after the cuts on tracks.",
    "max_tracks": "Most tracks of an event.",
    "max_hits": "Most hits of an event.",
}
SPLIT_HELP = (
    "Shares of the events for training, validation and test, such as 0.8 0.1 0.1: the data sets train, val and test in "
    "the folder, each with events of all files."
)
PARTS = ("train", "val", "test")
LARGEST_PT = 1000.0  # the mean of a sample in GeV lies below


def run(options: list[str]) -> None:
    """Runs `hitpool data convert`.

    Args:
        options: Arguments after `convert`.
    """
    parser = ArgumentParser(prog="hitpool data convert", description=DESCRIPTION)
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="ROOT files.")
    parser.add_argument("--output", required=True, metavar="DIR", help="Folder of the data set.")
    parser.add_argument("--mapping", metavar="FILE", help=MAPPING_HELP)
    parser.add_argument("--split", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"), help=SPLIT_HELP)
    parser.add_argument(
        "--workers", type=int, default=available_cores(), metavar="NUMBER", help="Processes; all cores if not given."
    )
    of_study = not any(option.partition("=")[0] == "--mapping" for option in options)
    for field in fields(Cuts):
        kind = int | None if isinstance(field.default, int) else float | None
        default = field.default if of_study else None
        parser.add_argument(f"--{field.name}", type=kind, default=default, help=CUTS_HELP[field.name])
    arguments = parser.parse_args(options)
    cuts = Cuts(**{name: getattr(arguments, name) for name in asdict(Cuts())})
    folders = _parts(Path(arguments.output), arguments.split)
    console = Console()
    mapping = read_mapping(arguments.mapping)
    for folder, share in folders.items():
        try:
            steps = convert(arguments.input, folder, mapping, cuts, arguments.workers, share)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same command goes on") from None
        console.print(cut_flow_table(steps))
    if of_study:
        console.print("cuts that are not given are those of the ATLAS muon studies; null switches one off")
    elif cuts == Cuts(**dict.fromkeys(asdict(cuts))):
        console.print("no cuts: 'hitpool data convert --help' lists them")
    if (pt := _mean_pt(folder, mapping)) > LARGEST_PT:
        console.print(
            f"[yellow]The mean of {mapping.pt} is {pt:,.0f}: if the branch holds MeV, give it factor: 0.001 in the "
            "mapping, or the cut on pt does nothing.[/]"
        )
    columns = (*mapping.hits, *mapping.tracks)
    if unknown := [f"{column.name} ({column.unit})" for column in columns if column.unit and not is_known(column.unit)]:
        known = ", ".join(unit for factors in FACTORS.values() for unit in factors)
        console.print(
            f"[yellow]Units that are not known, of which the values stay as they are: {', '.join(unknown)}; known are "
            f"{known}.[/]"
        )
    console.print(f"written to {arguments.output}", highlight=False, markup=False, soft_wrap=True)


def _parts(output: Path, split: list[float] | None) -> dict[Path, tuple[float, float]]:
    """The folders that are written, and which share of the events each of them gets."""
    if split is None:
        return {output: EVERYTHING}
    if min(split) < 0 or not math.isclose(sum(split), 1.0, abs_tol=1e-6):
        raise ValueError(f"--split: expected three shares whose sum is 1, such as 0.8 0.1 0.1, got {split}")
    edges = [0.0, split[0], split[0] + split[1], 1.0]
    parts = dict(zip(PARTS, itertools.pairwise(edges), strict=True))
    return {output / name: (low, high) for name, (low, high) in parts.items() if high > low}


def cut_flow_table(steps: list[Step]) -> Table:
    """Shows how many events and tracks are left after each cut.

    Args:
        steps: The cut flow.

    Returns:
        The table.
    """
    table = Table("cut", title="cut flow", title_justify="left")
    for name in ("events", "share", "tracks", "share"):
        table.add_column(name, justify="right")
    for step in steps:
        numbers = ((step.events, steps[0].events), (step.tracks, steps[0].tracks))
        shown = [(f"{number:,}", f"{number / max(total, 1):.1%}") for number, total in numbers]
        table.add_row(step.cut, *(cell for pair in shown for cell in pair))
    return table


def _mean_pt(output: Path, mapping: Mapping) -> float:
    """Mean of the transverse momenta in one of the files, 0 without them."""
    if mapping.pt is None:
        return 0.0
    column = [c.name for c in mapping.tracks].index(mapping.pt)
    for path in sorted((output / "data").glob("*.h5")):
        with h5py.File(path) as file:
            values = file["tracks"][:10_000, :, column]
        if np.isfinite(values).any():
            return float(np.nanmean(values, dtype=np.float64))
    return 0.0
