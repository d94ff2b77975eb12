"""Simulated events for a training without data of its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from hitpool.files import INDEX_FILES, alone, remove_left_lock

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Samples:
    """Events to simulate when no data folders are given; existing ones are reused.

    Args:
        folder: Folder for the data sets `train`, `val` and `test`.
        train: Number of training events.
        val: Number of validation events.
        test: Number of test events.
        seed: Seed of the simulation.
    """

    folder: str = "data"
    train: int = 60_000
    val: int = 2_000
    test: int = 5_000
    seed: int = 1

    def path(self, part: str) -> Path:
        """Folder of one of the three data sets."""
        return Path(self.folder) / part

    def check(self) -> None:
        """Checks the data sets that exist already.

        Raises:
            ValueError: If one has another number of events, or another seed, than asked for.
        """
        for part in PARTS:
            index = self.path(part) / INDEX_FILES["file_indices"]
            if not index.is_file():
                continue
            found, asked = len(np.load(index, mmap_mode="r")), getattr(self, part)
            if found != asked:
                raise ValueError(
                    f"{self.path(part)} holds {found} events, {asked} are asked for: remove the folder to simulate it"
                    f" anew, choose another with --simulate.folder, or use it as it is with --simulate.{part} {found}"
                )
            metadata = yaml.safe_load((self.path(part) / "metadata.yaml").read_text(encoding="utf-8"))
            seed = metadata.get("generator", {}).get("seed", self.seed)
            if seed != self.seed:
                raise ValueError(
                    f"{self.path(part)} was simulated with seed {seed}, {self.seed} is asked for: remove the folder,"
                    " or choose another with --simulate.folder"
                )

    def create(self) -> None:
        """Simulates the data sets that do not exist; other processes of this or another training wait for it.

        Raises:
            ValueError: If another training has simulated them meanwhile, with other numbers than asked for.
        """
        from hitpool.simulation import simulate
        from hitpool.training.progress import say

        paths = [self.path(part) for part in PARTS]
        for path in (Path(self.folder), *paths):
            remove_left_lock(path)
        if all(path.exists() for path in paths):
            return
        with alone(Path(self.folder), say):
            self.check()
            for split, part in enumerate(PARTS):
                if not self.path(part).exists():
                    simulate(self.path(part), getattr(self, part), seed=self.seed, split=split)
