"""True trajectories of the muons of a simulated data set, from the same simulation once more."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from hitpool.fits.toroid_hits import TrackHits
from hitpool.simulation import Muons, Settings, Trajectory, events, propagate_muons
from hitpool.simulation.generate import EVENTS_PER_BATCH, GENERATOR_VERSION, generate_batch

FARTHEST = 1.0  # rad, from the normal of a sector to the track


class Paths(NamedTuple):
    """Trajectories of T muons on G points of the path, float64.

    Args:
        grid: Transverse path length t in m, z in m and dip angle in rad, [T, 3, G].
        line: Of the transverse line: x and y at t = 0 in m, and the azimuth behind the calorimeter in rad, [T, 3].
        vertex: Azimuth at the vertex [T] in rad.
    """

    grid: Tensor
    line: Tensor
    vertex: Tensor


class TruePlaces(NamedTuple):
    """Where T muons are at K wires or strips, [T, K] each.

    Args:
        height: z of the wire less that of the muon at the same transverse place in m.
        dip: Dip angle of the muon there in rad.
        delta: Angle from the normal of the sector to the transverse line in rad.
    """

    height: Tensor
    dip: Tensor
    delta: Tensor

    def distance(self) -> Tensor:
        """Distance of the muon from the wire in the plane across it, with the sign of the side, in m."""
        return self.height / self._rise()

    def across(self, dip: Tensor) -> Tensor:
        """How much of the direction across a line in the bending plane one unit of `distance` is.

        Args:
            dip: Dip angle of the line in rad, [T].
        """
        return self._rise() * self.dip.cos() / (self.dip - dip.unsqueeze(1)).cos()

    def _rise(self) -> Tensor:
        return (1 + (self.dip.tan() / self.delta.cos()).square()).sqrt()


def key(values: Collection[float]) -> bytes:
    """Name of a muon: pT, eta and phi as they are on disk."""
    return np.asarray(values, np.float32).tobytes()


def true_paths(generator: Mapping[str, Any], size: int, wanted: Collection[bytes]) -> dict[bytes, Paths]:
    """Simulates a data set again and keeps trajectories.

    Args:
        generator: What the metadata of the data set say of its generator.
        size: Number of events of the data set.
        wanted: Names of the muons that are kept.

    Returns:
        Path of each muon, without the dimension T.

    Raises:
        ValueError: The data set is not of this version of the simulation, or does not hold the muons.
    """
    if generator.get("version") != GENERATOR_VERSION:
        raise ValueError(
            f"expected a data set of generator version {GENERATOR_VERSION}, got {generator.get('version')}"
        )
    settings, wanted, found = Settings(**generator["settings"]), set(wanted), {}

    def record(muons: Muons, *arguments: Any) -> Trajectory:
        path = propagate_muons(muons, *arguments)
        grid, line = np.stack([path.t, path.z, path.dip], axis=1), np.stack(list(vars(path.line).values()), axis=1)
        for number, name in enumerate(map(key, zip(muons.pt, muons.eta, muons.phi, strict=True))):
            if name in wanted:
                arrays = grid[number], line[number], np.asarray(muons.phi[number])
                found[name] = Paths(*(torch.from_numpy(array.copy()) for array in arrays))
        return path

    again = partial(generate_batch, seed=generator["seed"], split=generator["split"], settings=settings)
    with mock.patch.object(events, "propagate_muons", record):
        for number, start in enumerate(range(0, size, EVENTS_PER_BATCH)):
            again((number, min(EVENTS_PER_BATCH, size - start)))
    if missing := len(wanted - set(found)):
        raise ValueError(f"expected all {len(wanted)} muons in the repeated simulation, {missing} are not there")
    return found


def true_places(paths: Paths, hits: TrackHits) -> TruePlaces:
    """Where muons pass wires and strips.

    Args:
        paths: Of T muons.
        hits: Hits [T, K].
    """
    x, y, azimuth = paths.line.T.unsqueeze(-1).unbind(0)  # [T, 1] each
    delta = azimuth - hits.azimuth
    along = x * hits.azimuth.cos() + y * hits.azimuth.sin()
    place = (hits.distance - along) / torch.where(delta.cos() > np.cos(FARTHEST), delta.cos(), 1.0)  # t at the wire
    t, z, dip = (values.contiguous() for values in paths.grid.unbind(1))
    after = torch.searchsorted(t, place.contiguous()).clamp(1, t.shape[1] - 1)

    def ends(values: Tensor) -> tuple[Tensor, Tensor]:
        return values.gather(1, after - 1), values.gather(1, after)

    (t0, t1), (z0, z1), (dip0, dip1) = ends(t), ends(z), ends(dip)
    share, width = (place - t0) / (t1 - t0), t1 - t0
    bow = share * (1 - share) * width * (dip0.tan() * (1 - share) - dip1.tan() * share)  # of a cubic with these slopes
    straight = (1 - share).square() * (1 + 2 * share) * z0 + share.square() * (3 - 2 * share) * z1
    return TruePlaces(hits.z - straight - bow, dip0 + share * (dip1 - dip0), delta)
