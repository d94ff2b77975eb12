"""The command `hitpool compare`."""

from pathlib import Path

from hitpool.parser import ArgumentParser

DESCRIPTION = """\
Shows the tests of several runs side by side; nothing is tested again. It prints one table, writes it as comparison.csv
and comparison.md, and draws resolution, charge, efficiency, fake and duplicate rate in bins, and the learning curves.
Runs that differ only in their seeds are shown as their mean and standard deviation.
"""


def run(options: list[str]) -> None:
    """Runs `hitpool compare`.

    Args:
        options: Arguments after `compare`.
    """
    parser = ArgumentParser(prog="hitpool compare", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="Run directory, such as runs/muon/version_0.")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="Folder for tables and plots.")
    arguments = parser.parse_args(options)

    from hitpool.evaluation.compare_runs import compare_runs

    compare_runs(arguments.runs, arguments.output)
