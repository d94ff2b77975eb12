"""Measurements of ACTS from the hit columns of a data set, which hold all that a fit needs of them."""

from __future__ import annotations

from typing import NamedTuple

import acts
import acts.examples
import numpy as np
from numpy.typing import NDArray

from hitpool.acts.columns import MEASURED
from hitpool.acts.detector import Detector

FAR = 0.01  # mm, of a point from the plane of its module: float32 has steps of 0.0002 mm at 3 m


class Measured(NamedTuple):
    """The measurements of M hits.

    Args:
        identifiers: Of their modules.
        local: Measured coordinates in mm, [M, 2].
        variances: Of these, in mm^2, [M, 2].
    """

    identifiers: list[acts.GeometryIdentifier]
    local: NDArray[np.float64]
    variances: NDArray[np.float64]

    def add_to(self, container: acts.examples.MeasurementContainer, hits: NDArray[np.int64]) -> None:
        """Adds some of them to those of an event.

        Args:
            container: The measurements of the event; the new ones get the next numbers.
            hits: Their rows.
        """
        for hit in hits.tolist():
            local, variances = self.local[hit].tolist(), self.variances[hit].tolist()
            container.emplaceMeasurement(self.identifiers[hit], [0, 1], local, variances)


def measured(detector: Detector, hits: NDArray[np.floating]) -> Measured:
    """Turns global points into local coordinates.

    Args:
        detector: Where the modules are.
        hits: The columns `MEASURED`, [M, 8].

    Raises:
        ValueError: If a hit is not in a module of this detector.
    """
    columns = dict(zip(MEASURED, np.asarray(hits, np.float64).T, strict=True))
    numbers = np.stack([columns[name] for name in ("volume", "layer", "module")], -1).astype(np.int64)  # [M, 3]
    identifiers = [
        acts.GeometryIdentifier(volume=volume, layer=layer, sensitive=module)
        for volume, layer, module in numbers.tolist()
    ]
    for number, identifier in zip(numbers.tolist(), identifiers, strict=True):
        if not detector.has_module(identifier):
            raise ValueError(f"the generic detector has no module (volume, layer, module) = {tuple(number)}")
    modules = [detector.module(identifier) for identifier in identifiers]
    origin = np.array([module.origin for module in modules]).reshape(-1, 3)
    axes = np.array([module.axes for module in modules]).reshape(-1, 2, 3)
    offset = np.stack([columns[name] for name in "xyz"], -1) - origin  # [M, 3]
    local = np.einsum("mc,mac->ma", offset, axes)
    distance = np.linalg.norm(offset - np.einsum("ma,mac->mc", local, axes), axis=-1)
    if (distance > FAR).any():
        hit = int(distance.argmax())
        raise ValueError(
            f"hit {hit} is {distance[hit]:.3g} mm away from the plane of its module (volume, layer, module) = "
            f"{tuple(numbers[hit].tolist())} in the generic detector"
        )
    return Measured(identifiers, local, np.stack([columns["var_loc0"], columns["var_loc1"]], -1))
