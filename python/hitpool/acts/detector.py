"""The generic detector of ACTS: geometry, field, and resolution of its modules."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import NamedTuple

import acts
import acts.examples
import numpy as np
from numpy.typing import NDArray

FIELD = 2.0  # T, along z
CELLS = {  # volumes: width of a pixel or strip along the two local coordinates in mm
    (7, 8, 9): (0.05, 0.05),  # pixels
    (12, 13, 14): (0.08, 1.2),  # short strips
    (16, 17, 18): (0.12, 10.8),  # long strips
}


class Module(NamedTuple):
    """A sensitive surface, which is a plane.

    Args:
        volume, layer, number: Its identifiers.
        origin: Global position of its local origin in mm, [3].
        axes: Global directions of its two local coordinates, [2, 3].
    """

    volume: int
    layer: int
    number: int
    origin: NDArray[np.float64]
    axes: NDArray[np.float64]


class Detector:
    """Geometry and field, built with warnings and errors as the only messages."""

    def __init__(self) -> None:
        quiet = acts.logging.WARNING
        levels = dict.fromkeys(("logLevel", "surfaceLogLevel", "layerLogLevel", "volumeLogLevel"), quiet)
        self.generic = acts.examples.GenericDetector(**levels)
        self.geometry = self.generic.trackingGeometry()
        self.field = acts.ConstantBField(acts.Vector3(0, 0, FIELD * acts.UnitConstants.T))
        self._context = self.generic.nominalGeometryContext()
        self._surfaces = self.geometry.geoIdSurfaceMap()
        self._modules: dict[int, Module] = {}
        self._shapes: dict[int, tuple[float, ...]] = {}  # half widths at both ends, half length
        self._layers: dict[tuple[int, int], list[acts.GeometryIdentifier]] = {}

    def has_module(self, identifier: acts.GeometryIdentifier) -> bool:
        """Whether there is a sensitive surface of this name.

        Args:
            identifier: Its identifier.
        """
        return identifier in self._surfaces

    def module(self, identifier: acts.GeometryIdentifier) -> Module:
        """Looks up a sensitive surface.

        Args:
            identifier: Its identifier.
        """
        key = identifier.value
        if key not in self._modules:
            surface = self._surfaces[identifier]
            origin, first, second = (self._global(surface, *local) for local in ((0, 0), (1, 0), (0, 1)))
            self._modules[key] = Module(
                identifier.volume,
                identifier.layer,
                identifier.sensitive,
                origin,
                np.stack([first - origin, second - origin]),
            )
        return self._modules[key]

    def modules_of_layer(self, identifier: acts.GeometryIdentifier) -> list[acts.GeometryIdentifier]:
        """All modules in the layer of one of them.

        Args:
            identifier: Identifier of the module.
        """
        if not self._layers:
            for other in self._surfaces:
                if other.sensitive:
                    self._layers.setdefault((other.volume, other.layer), []).append(other)
            for modules in self._layers.values():
                modules.sort(key=lambda other: other.value)
        return self._layers[identifier.volume, identifier.layer]

    def point(self, identifier: acts.GeometryIdentifier, along: float, across: float) -> NDArray[np.float64]:
        """A point of a module; if both numbers are uniform, every point is as probable as another.

        Args:
            identifier: Identifier of the module, which is a rectangle or a trapezoid.
            along: From 0 to 1, where it lies along the second local coordinate, as a fraction of the area.
            across: From 0 to 1, where it lies along the first one.

        Returns:
            Global position in mm, [3].
        """
        key = identifier.value
        if key not in self._shapes:
            bounds = self._surfaces[identifier].bounds
            sizes = bounds.values()  # of a rectangle two opposite corners around the centre
            trapezoid = bounds.type == acts.SurfaceBoundsType.Trapezoid
            self._shapes[key] = tuple(sizes[:3]) if trapezoid else (sizes[2], sizes[2], sizes[3])
        near, far, half_length = self._shapes[key]
        width = math.sqrt(near**2 + along * (far**2 - near**2))  # half of it, at this point
        fraction = (width - near) / (far - near) if far != near else along
        module = self.module(identifier)
        local = width * (2 * across - 1), half_length * (2 * fraction - 1)
        point: NDArray[np.float64] = module.origin + local[0] * module.axes[0] + local[1] * module.axes[1]
        return point

    def _global(self, surface: acts.Surface, loc0: float, loc1: float) -> NDArray[np.float64]:
        point = surface.localToGlobal(self._context, acts.Vector2(loc0, loc1), acts.Vector3(0, 0, 1))
        return np.array([point[0], point[1], point[2]])


@functools.cache
def generic_detector() -> Detector:
    """The detector of this process, built at the first call."""
    return Detector()


def write_resolution(path: Path) -> Path:
    """Writes the digitisation as ACTS reads it: both local coordinates are smeared with the width of a cell / sqrt(12).

    Args:
        path: JSON file to write.

    Returns:
        The file.
    """
    entries = [
        {
            "volume": volume,
            "value": {
                "smearing": [
                    {"index": i, "mean": 0.0, "stddev": width / math.sqrt(12), "type": "Gauss"}
                    for i, width in enumerate(widths)
                ]
            },
        }
        for volumes, widths in CELLS.items()
        for volume in volumes
    ]
    header = {"format-version": 0, "value-identifier": "digitization-configuration"}
    path.write_text(json.dumps({"acts-geometry-hierarchy-map": header, "entries": entries}), encoding="utf-8")
    return path
