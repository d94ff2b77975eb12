"""Events of a toy detector as a ROOT file."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

CHUNK = 2000  # events


@dataclass(frozen=True)
class Sample:
    """Hits, tracks and their fits, one array of each column for all events together.

    Args:
        hits: Columns of the hits, in any order.
        hit_event: Event of each hit.
        tracks: Columns of the tracks, ordered by event.
        fits: Columns of the fits of their true hits, likewise.
        num_tracks: Tracks of each event.
    """

    hits: dict[str, np.ndarray]
    hit_event: np.ndarray
    tracks: dict[str, np.ndarray]
    fits: dict[str, np.ndarray]
    num_tracks: np.ndarray


def fit_columns(estimate: np.ndarray, sigma: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of fitted q / pT, eta and phi [T, 3 or more] and their errors."""
    qpt, eta, phi = estimate[:, :3].T
    columns = {"pt": 1 / np.abs(qpt), "eta": eta, "phi": np.arctan2(np.sin(phi), np.cos(phi)), "q": np.sign(qpt)}
    return columns | {f"sigma_{name}": sigma[:, i] for i, name in enumerate(("qpt", "eta", "phi"))}


def main(
    simulate: Callable[[int, np.random.Generator], Sample],
    description: str,
    tree: str,
    hits: str,
    tracks: str,
) -> None:
    """Simulates events and writes them.

    Args:
        simulate: From number of events and random generator to the events.
        description: What `--help` says.
        tree: Name of the tree.
        hits: What the names of the hit branches begin with.
        tracks: What the names of the track branches begin with.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("output", type=Path, help="the ROOT file")
    parser.add_argument("--events", type=int, default=2000, help="number of events")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers")
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(arguments.output) as file:
        for start in range(0, arguments.events, CHUNK):
            sample = simulate(min(CHUNK, arguments.events - start), random)
            content = branches(sample, hits, tracks, random)
            if start == 0:
                file.mktree(tree, {name: array.type for name, array in content.items()})
            file[tree].extend(content)


def branches(sample: Sample, hits: str, tracks: str, random: np.random.Generator) -> dict[str, ak.Array]:
    """Lists of records per event; the hits of an event in random order."""
    order = np.lexsort([random.random(len(sample.hit_event)), sample.hit_event])
    num_hits = np.bincount(sample.hit_event, minlength=len(sample.num_tracks))

    def records(columns: dict[str, np.ndarray], numbers: np.ndarray) -> ak.Array:
        lists = {}
        for name, column in columns.items():
            kind = np.float32 if column.dtype.kind == "f" else np.int32
            lists[name] = ak.unflatten(column.astype(kind), numbers)
        return ak.zip(lists)

    return {
        hits: records({name: column[order] for name, column in sample.hits.items()}, num_hits),
        tracks: records(sample.tracks, sample.num_tracks),
        "fit": records(sample.fits, sample.num_tracks),
    }
