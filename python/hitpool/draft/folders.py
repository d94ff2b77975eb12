"""Data sets for training, validation and test in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

METADATA = "metadata.yaml"


@dataclass(frozen=True)
class Folders:
    """Data sets of a training.

    Attributes:
        train: Training events.
        val: Validation events.
        test: Test events, if there are any.
        notice: What is missing, in words; empty if nothing is.
    """

    train: Path
    val: Path
    test: Path | None
    notice: str = ""

    @property
    def all(self) -> list[Path]:
        """Each data set once."""
        return list(dict.fromkeys(path for path in (self.train, self.val, self.test) if path))


def find_folders(data: Path) -> Folders:
    """Finds the data sets.

    Args:
        data: A folder with data sets `train` and, if there are any, `val` and `test` in it, or a single data set.

    Returns:
        Their folders; without validation events, the training events stand in for them.

    Raises:
        FileNotFoundError: If there is no data set.
    """
    if (data / METADATA).is_file():
        return Folders(data, data, None, "a single data set: it is validated on the training events and not tested")
    parts = {name: data / name for name in ("train", "val", "test") if (data / name / METADATA).is_file()}
    if "train" not in parts:
        raise FileNotFoundError(
            f"{data}: expected a data set ({METADATA}) or a folder with the data sets train, val and test, as "
            "'hitpool data convert --split 0.8 0.1 0.1' writes it"
        )
    missing = [name for name in ("val", "test") if name not in parts]
    notice = f"no data set {' and '.join(missing)} in {data}" if missing else ""
    notice += ": it is validated on the training events" if "val" in missing else ""
    return Folders(parts["train"], parts.get("val", parts["train"]), parts.get("test"), notice)
