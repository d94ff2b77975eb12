"""The command `hitpool data inspect`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hitpool.files import check_writable, read_index, write_text
from hitpool.inspection.report import as_json, tables
from hitpool.inspection.scan import Scan
from hitpool.parser import ArgumentParser

DESCRIPTION = """\
Reads a data set once and shows its events, columns, truth and defects. The exit status is 1 if it cannot be used for
training. Errors stop training; defects stop it if the column is used, or spoil it; remarks are worth knowing.
"""
FILE_WIDTH = 160  # of the tables if they do not go to a terminal


def run(options: list[str]) -> None:
    """Runs `hitpool data inspect`.

    Args:
        options: Arguments after `inspect`.
    """
    parser = ArgumentParser(prog="hitpool data inspect", description=DESCRIPTION)
    parser.add_argument("directory", metavar="DIR", help="Folder of the data set.")
    parser.add_argument("--plots", metavar="DIR", help="Folder for plots (PNG).")
    parser.add_argument("--json", metavar="FILE.json", help="Write all numbers.")
    parser.add_argument(
        "--truth_link",
        metavar="COLUMN",
        help="Column that links a hit to its track; by default the one that the data set names.",
    )
    arguments = parser.parse_args(options)
    if arguments.json is not None:
        if Path(arguments.json).suffix != ".json":
            raise ValueError(f"--json {arguments.json}: expected a file ending in .json")
        check_writable(Path(arguments.json).parent)
    if arguments.plots is not None:
        check_writable(arguments.plots)
    scan = scan_with_progress(arguments.directory, arguments.truth_link)
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    for table in tables(scan):
        console.print(table)
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(as_json(scan), indent=2, allow_nan=False) + "\n")
    if arguments.plots is not None:
        from hitpool.inspection.plots import save_plots

        files = save_plots(scan, Path(arguments.plots))
        console.print(
            f"plots in {arguments.plots}: {', '.join(file.name for file in files)}", highlight=False, markup=False
        )
    if not scan.findings.readable:
        sys.exit(1)


def scan_with_progress(directory: Path | str, truth_link: str | None) -> Scan:
    """Inspects a data set behind a progress bar; see `hitpool.inspection.inspect`."""
    scan = Scan(read_index(directory), truth_link)
    columns = TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(scan.index))
        scan.run(lambda events: progress.advance(bar, events))
    return scan
