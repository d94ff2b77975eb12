"""Run directories: `<runs>/<name>/version_<k>` with config.yaml, ckpts, metrics and results."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hitpool import files
from hitpool.weights import names_key


def folder(runs: Path, name: str) -> Path:
    """Folder of the runs of a training.

    Args:
        runs: Folder of all of them.
        name: Name of the training.

    Raises:
        ValueError: If the name is not that of one folder in `runs`.
    """
    if name in ("", "..") or name != Path(name).name or name.startswith("-") or "\0" in name:
        raise ValueError(f"name: expected that of one folder in {runs}, without '/' and no '-' in front, got {name!r}")
    return runs / name


def versions(folder: Path) -> list[Path]:
    """Run directories in `<runs>/<name>`, the oldest first."""
    numbered = {path.name.removeprefix("version_"): path for path in folder.glob("version_*") if path.is_dir()}
    return [numbered[number] for number in sorted(filter(str.isdecimal, numbered), key=int)]


def names(runs: Path) -> list[str]:
    """Names of the trainings that have a run directory in `runs`."""
    return sorted({path.parent.name for path in runs.glob("*/version_*") if path.is_dir()})


def newest(folder: Path) -> Path | None:
    """Most recent run directory in `<runs>/<name>`, or None if there is none."""
    return next(reversed(versions(folder)), None)


def following(folder: Path) -> Path:
    """Path of the run directory that comes after the most recent one in `<runs>/<name>`."""
    last = newest(folder)
    return folder / f"version_{0 if last is None else int(last.name.removeprefix('version_')) + 1}"


def claim(folder: Path) -> Path:
    """Creates the next run directory in `<runs>/<name>`; two trainings that start together get two directories."""
    while True:
        run = following(folder)
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            continue
        return run


@contextmanager
def new(folder: Path, has_begun: Callable[[], bool]) -> Iterator[Path]:
    """The next run directory in `<runs>/<name>`, removed again by an error before the training has begun.

    Args:
        folder: `<runs>/<name>`; it is created, and removed with the run directory if it was.
        has_begun: Whether there is something to keep.

    Yields:
        The run directory.

    Raises:
        WriteError: If it cannot be created.
    """
    with files.folder(folder):
        with files.failures_named(folder):
            run = claim(folder)
        try:
            yield run
        except BaseException:
            if not has_begun():
                shutil.rmtree(run)
            raise


def checkpoint(run: Path, which: str | None = None) -> Path | None:
    """Finds a checkpoint of a run.

    Args:
        run: Run directory.
        which: `best`, the one with the lowest validation loss; `last`, the most recent one that a training can go on
            from, which is `last.ckpt` or a later one of a callback or of Lightning on SLURM, or else `best.ckpt`; None
            for `best`, or `last` if there was no validation.

    Returns:
        Its path, or None if there is none.
    """
    best = run / "ckpts" / "best.ckpt"
    if which != "last" and best.is_file():
        return best
    paths = [] if which == "best" else [*run.glob("*.ckpt"), *run.glob("*/*.ckpt")]

    def rank(path: Path) -> tuple[bool, int, bool]:
        # best.ckpt comes behind all others: it can be of any epoch, and the second phase writes into it at the end
        return path != best, path.stat().st_mtime_ns, path.name == "last.ckpt"

    for path in sorted(paths, key=rank, reverse=True):
        if path.name == "last.ckpt" or names_key(path, "optimizer_states"):
            return path
    return None


def of_checkpoint(checkpoint: Path) -> Path | None:
    """Run directory that holds `checkpoint`, itself or in one of its folders, or None if it lies elsewhere."""
    folder = checkpoint.absolute().parent
    if folder.name == "ckpts":
        return folder.parent
    inside = [path for path in (folder, folder.parent) if re.fullmatch(r"version_\d+", path.name)]
    return next((path for path in inside if (path / "config.yaml").is_file()), None)
