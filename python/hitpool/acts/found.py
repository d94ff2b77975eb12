"""The tracks of the combinatorial Kalman filter, with the fakes, beside a data set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hitpool.files import Events, FoundTracks, found_tracks_path, write_found_tracks

FINDER = "ckf"


@dataclass(frozen=True)
class Found(FoundTracks):
    """Found tracks of E events, with the particles to which they belong.

    Args:
        particle: Row of the matched particle in its event, -1 for a fake, [T].
        duplicate: Whether the particle has another track that is better, [T].
        num_particles: Number of particles of each event, [E].
        seconds: CPU time of the reconstruction of each event, [E].
    """

    particle: NDArray[np.int32]
    duplicate: NDArray[np.bool_]
    num_particles: NDArray[np.int32]
    seconds: NDArray[np.float64]

    @staticmethod
    def concatenate(parts: list[Found]) -> Found:
        """Tracks of several parts.

        Args:
            parts: At least one.
        """
        return Found(*(np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(Found)))

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the tracks, without the times, which no two runs share.

        Args:
            folder: Folder of the data set.

        Returns:
            What the metadata say of it.

        Raises:
            WriteError: If it cannot be written.
        """
        path = found_tracks_path(folder, FINDER)
        write_found_tracks(path, self, particle=self.particle, duplicate=self.duplicate)
        real = int((self.particle >= 0).sum())
        duplicates = int(self.duplicate.sum())
        return {
            "file": path.name,
            "particles": int(self.num_particles.sum()),
            "found": real - duplicates,
            "fakes": len(self.particle) - real,
            "duplicates": duplicates,
            "milliseconds_per_event": round(float(self.seconds.mean()) * 1e3, 2),
        }


class Batch(NamedTuple):
    """What comes out of the chain.

    Args:
        events: Events of the batch.
        found: Tracks that ACTS found in them; None where it did not look for any.
    """

    events: Events
    found: Found | None
