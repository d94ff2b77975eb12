"""Run directories: `<runs>/<name>/version_<k>` with config.yaml, ckpts, metrics and results."""

from pathlib import Path


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


def of_checkpoint(checkpoint: Path) -> Path | None:
    """Run directory that holds `checkpoint` in its folder `ckpts`, or None if it lies elsewhere."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "ckpts" else None
