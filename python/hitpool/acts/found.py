"""The tracks of the combinatorial Kalman filter, with the fakes, beside a data set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hitpool.files import Events, replacing

FILE = "ckf.h5"
PARAMETERS = ("d0", "z0", "phi", "theta", "q/p")
UNITS = ("mm", "mm", "rad", "rad", "1/GeV")


@dataclass(frozen=True)
class Found:
    """Found tracks of E events, one after the other, in the order of the events of the data set.

    Args:
        num_tracks: Number of tracks of each event, [E].
        num_hits: Number of hits of each track, [T].
        hits: Rows of the hits in their event, from the inside, track after track, [sum(num_hits)].
        particle: Row of the matched particle in its event, -1 for a fake, [T].
        duplicate: Whether the particle has another track that is better, [T].
        parameters: `PARAMETERS` at the beam line, NaN if the track could not be followed to there, [T, 5].
        covariance: Their covariance, [T, 5, 5].
        num_particles: Number of particles of each event, [E].
        seconds: CPU time of the reconstruction of each event, [E].
    """

    num_tracks: NDArray[np.int32]
    num_hits: NDArray[np.int32]
    hits: NDArray[np.int32]
    particle: NDArray[np.int32]
    duplicate: NDArray[np.bool_]
    parameters: NDArray[np.float32]
    covariance: NDArray[np.float32]
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
        """Writes `FILE`, without the times, which no two runs share.

        Args:
            folder: Folder of the data set.

        Returns:
            What the metadata say of it.

        Raises:
            WriteError: If it cannot be written.
        """
        with replacing(folder / FILE) as target, h5py.File(target, "w") as file:
            for name in ("num_tracks", "num_hits", "hits", "particle", "duplicate", "parameters", "covariance"):
                file[name] = getattr(self, name)
            file["parameters"].attrs["names"] = np.array(PARAMETERS, dtype="S")
            file["parameters"].attrs["units"] = np.array(UNITS, dtype="S")
        real = int((self.particle >= 0).sum())
        duplicates = int(self.duplicate.sum())
        return {
            "file": FILE,
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
