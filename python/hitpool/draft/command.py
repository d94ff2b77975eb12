"""The command `hitpool init`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hitpool.files import write_text
from hitpool.parser import ArgumentParser

if TYPE_CHECKING:
    from hitpool.draft.draft import Draft

DESCRIPTION = """\
Looks at a data set and writes a first configuration for it, which 'hitpool fit --config FILE' trains. It says what it
has guessed; the file has comments, and everything in it can be changed.
"""


def run(options: list[str]) -> None:
    """Runs `hitpool init`.

    Args:
        options: Arguments after `init`.
    """
    parser = ArgumentParser(prog="hitpool init", description=DESCRIPTION)
    parser.add_argument(
        "data", metavar="DATA", help="Folder with the data sets train, val and test, or a single data set."
    )
    parser.add_argument("--output", required=True, metavar="FILE.yaml", help="The configuration to write.")
    parser.add_argument("--name", help="Name of the training; by default that of the file.")
    parser.add_argument(
        "--truth_link",
        metavar="COLUMN",
        help="Column that links a hit to its track; by default the one that the data set names.",
    )
    arguments = parser.parse_args(options)
    output = Path(arguments.output)
    if output.suffix not in (".yaml", ".yml"):
        raise ValueError(f"--output {output}: expected a file ending in .yaml")
    if output.exists():
        raise FileExistsError(f"{output} exists: remove it, or choose another output")
    from hitpool.draft.draft import draft
    from hitpool.draft.text import configuration

    found = draft(Path(arguments.data), arguments.truth_link)
    write_text(output, configuration(found, arguments.name or output.stem))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in report(found):
        console.print(line)
    console.print(f"written to {output}; train with: hitpool fit --config {output}")


def report(found: Draft) -> list[str]:
    """Says what was found and what was guessed.

    Args:
        found: The draft.

    Returns:
        Lines.
    """
    hits, targets = found.hits, found.targets
    lines = [
        f"events: {found.events:,}, with up to {found.most_hits} hits and {found.most_tracks} tracks "
        f"(data.max_particles)"
    ]
    lines += [found.folders.notice] if found.folders.notice else []
    lines.append(f"truth link: {hits.truth_link}")
    if hits.point:
        source = "as the data set says" if hits.said else "guessed by their size"
        lines.append(f"coordinates: {', '.join(hits.point)} in {hits.unit}, {source}")
    else:
        lines.append("coordinates: none found; data.points names them")
    lines.append(f"inputs: {', '.join(hits.inputs)}")
    lines += _left_out(hits.left_out)
    kinds = dict.fromkeys(targets.inverse, "its inverse") | dict.fromkeys(targets.periodic, "periodic")
    kinds |= dict.fromkeys(targets.sign, "its sign")
    lines.append(
        "targets: " + ", ".join(name + (f" ({kinds[name]})" if name in kinds else "") for name in targets.fields)
    )
    lines += _left_out(targets.left_out)
    lines += [f"warning: {doubt}" for doubt in found.doubts]
    lines.append(f"track fit: {_track_fit(found)}")
    return lines


def _left_out(columns: Mapping[str, str]) -> list[str]:
    text = ", ".join(f"{name} ({reason})" for name, reason in columns.items())
    return [f"  left out: {text}"] if text else []


def _track_fit(found: Draft) -> str:
    bending = found.bending
    if bending is None:
        return "none; it needs coordinates, and charge and momentum of the tracks as <prefix>q and <prefix>pt"
    if found.field is None:
        if not bending.uniform and bending.tracks:
            return (
                f"none: circles through the true hits around the z axis do not agree with q/pT (spread of the field "
                f"{bending.spread:.0%}, {bending.tracks} tracks)"
            )
        return f"none: only {bending.tracks} tracks have enough hits"
    return (
        f"HelixFit in a solenoid of {bending.field:.3g} T along z: circles through the true hits of {bending.tracks} "
        f"tracks agree with q/pT within {bending.spread:.1%}"
    )
