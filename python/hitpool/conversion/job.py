"""From ROOT files to a data set folder, in parallel; an interrupted conversion continues."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from hitpool.conversion.cuts import Cuts, Step
from hitpool.conversion.mapping import Mapping
from hitpool.conversion.part import Part, convert_part, cut_flow
from hitpool.conversion.root import count_events, libraries
from hitpool.conversion.share import EVERYTHING
from hitpool.cores import available_cores
from hitpool.files import alone, ordered_map, produced, write_index, write_text

PART_BYTES = 256 * 2**20
"""Events that take about this much memory go into one HDF5 file."""

PLAN = "conversion.yaml"


def convert(
    inputs: Sequence[Path | str],
    output: Path | str,
    mapping: Mapping,
    cuts: Cuts,
    workers: int | None = None,
    share: tuple[float, float] = EVERYTHING,
) -> list[Step]:
    """Converts ROOT files.

    Called again after an interruption it goes on; finished HDF5 files are kept. Input files may be left out or
    added then. The data set can be read when all is done: ``metadata.yaml`` is written last.

    Args:
        inputs: ROOT files.
        output: Folder of the data set.
        mapping: Branches and columns.
        cuts: Selection of tracks and events.
        workers: Number of processes; all available cores by default.
        share: Events between these shares of a random order alone, see `hitpool.conversion.share`.

    Returns:
        Events and tracks after each cut.

    Raises:
        FileNotFoundError: If a ROOT file does not exist.
        FileExistsError: If the folder holds something else, or a conversion with another mapping or other cuts.
        ImportError: If uproot is not installed.
        InUseError: If another process converts to that folder.
        ValueError: If a ROOT file, an argument or what the folder says of its conversion is bad, or no event is left.
    """
    libraries()
    files, output = [Path(path) for path in inputs], Path(output)
    workers = available_cores() if workers is None else workers
    _check(files, mapping, cuts, workers)
    with alone(output):
        return _convert(files, output, mapping, cuts, workers, share)


def _convert(
    inputs: list[Path], output: Path, mapping: Mapping, cuts: Cuts, workers: int, share: tuple[float, float]
) -> list[Step]:
    settings = {"mapping": mapping.as_dict(), "cuts": asdict(cuts), "share": list(share)}
    parts = _parts(output, settings, inputs, mapping, workers)
    waiting = [part for part in parts if cut_flow(part) is None]
    sizes = [part.stop - part.start for part in waiting]
    done = sum(part.stop - part.start for part in parts) - sum(sizes)
    convert_one = functools.partial(convert_part, mapping=mapping, cuts=cuts, share=share)
    with contextlib.closing(produced(convert_one, waiting, sizes, workers, f"converting to {output}", done)) as results:
        for _ in results:
            pass
    return _finish(output, parts, settings, mapping.units)


def _check(inputs: list[Path], mapping: Mapping, cuts: Cuts, workers: int) -> None:
    if not inputs:
        raise ValueError("input: expected at least one ROOT file")
    if repeated := {str(path) for path in inputs if inputs.count(path) > 1}:
        raise ValueError(f"input: files named more than once: {', '.join(sorted(repeated))}")
    if missing := [str(path) for path in inputs if not path.is_file()]:
        raise FileNotFoundError(f"input: {', '.join(missing)} does not exist")
    for cut, column, name in (("min_pt", mapping.pt, "pt"), ("max_eta", mapping.eta, "eta")):
        if getattr(cuts, cut) is not None and column is None:
            raise ValueError(f"{cut} needs '{name}' in the mapping, or switch it off: --{cut} null")
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")


def _parts(output: Path, settings: dict[str, Any], inputs: list[Path], mapping: Mapping, workers: int) -> list[Part]:
    """Divides the work; files that were divided before are divided in the same way."""
    plan = output / PLAN
    edges: dict[tuple[str, int], list[int]] = {}  # of the parts, by name and size of the file
    if plan.is_file():
        stored = _read_plan(plan)
        for key, value in settings.items():
            if json.dumps(stored[key]) != json.dumps(value):  # which also compares the order of columns
                raise FileExistsError(
                    f"{output} holds a conversion with other {key}: {_difference(stored[key], value)}; remove it or "
                    "choose another output"
                )
        edges = {(entry["file"], entry["bytes"]): entry["edges"] for entry in stored["inputs"]}
    elif output.exists() and any(not path.name.startswith(f".{PLAN}.") for path in output.iterdir()):
        raise FileExistsError(f"{output} exists and is not a conversion; remove it or choose another output")
    files = [(str(path), path.stat().st_size) for path in inputs]
    new = [file for file in files if file not in edges]
    counts = ordered_map(functools.partial(count_events, mapping=mapping), [Path(name) for name, _ in new], workers)
    for file, (entries, event_bytes) in zip(new, counts, strict=True):
        number = -(-entries * event_bytes // PART_BYTES)
        edges[file] = [entries * i // max(number, 1) for i in range(number + 1)]
    divided = [{"file": name, "bytes": size, "edges": own} for (name, size), own in edges.items()]
    for leftover in (output / "data").glob(".*.part"):
        leftover.unlink()
    write_text(plan, yaml.safe_dump(settings | {"inputs": divided}, sort_keys=False))
    return [
        Part(Path(file[0]), start, stop, output / "data" / f"{_identity(*file)}-{start:08d}.h5")
        for file in files
        for start, stop in itertools.pairwise(edges[file])
    ]


def _read_plan(plan: Path) -> dict[str, Any]:
    try:
        stored = yaml.safe_load(plan.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        stored = None
    if not isinstance(stored, dict) or not {"mapping", "cuts", "share", "inputs"} <= stored.keys():
        raise ValueError(f"{plan} is damaged: remove {plan.parent} to convert anew")
    return stored


def _identity(name: str, size: int) -> str:
    """A file name for what comes from a ROOT file."""
    return f"{Path(name).stem}-{hashlib.sha256(f'{name} {size}'.encode()).hexdigest()[:8]}"


def _difference(stored: Any, wanted: Any, path: str = "") -> str:
    """The first difference of two trees of dictionaries and lists, in words."""
    if type(stored) is type(wanted) and isinstance(stored, (dict, list)) and len(stored) == len(wanted):
        keys = stored if isinstance(stored, dict) else range(len(stored))
        if not isinstance(stored, dict) or stored.keys() == wanted.keys():
            for key in keys:
                if stored[key] != wanted[key]:
                    return _difference(stored[key], wanted[key], f"{path}.{key}".lstrip("."))
    return f"{path}{': ' if path else ''}{json.dumps(stored)} there, {json.dumps(wanted)} now"


def _finish(output: Path, parts: list[Part], settings: dict[str, Any], units: dict[str, str]) -> list[Step]:
    """Writes the index and, last, the metadata."""
    flows = [cut_flow(part) or [] for part in parts]
    steps = [
        Step(same[0].cut, sum(step.events for step in same), sum(step.tracks for step in same))
        for same in zip(*flows, strict=True)
    ]
    if not steps or steps[-1].events == 0:
        text = "; ".join(f"{step.cut}: {step.events} events, {step.tracks} tracks" for step in steps)
        raise ValueError(f"no event is left. {text or 'The files are empty'}")
    counts = [flow[-1].events for flow in flows]
    chunks = [
        {
            "h5_file": part.output.relative_to(output).as_posix(),
            "source_root_file": str(part.source),
            "event_count": count,
            "worker_id": 0,
        }
        for part, count in zip(parts, counts, strict=True)
    ]
    mapping = settings["mapping"]
    more = {
        "truth_link": mapping["truth_link"],
        "units": units,
        "processing_summary": {"cut_flow": [asdict(step) for step in steps]},
        "processing_parameters": settings,
        "processed_files": list(dict.fromkeys(str(part.source) for part in parts)),
    }
    write_index(output, list(mapping["hits"]), list(mapping["tracks"]), chunks, more)
    return steps
