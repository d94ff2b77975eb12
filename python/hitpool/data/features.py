"""From the columns on disk to the hit fields of the model: scale factors and derived coordinates."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hitpool.data.names import suggestion
from hitpool.muon import POINTS
from hitpool.ops import pseudorapidity

POINT_FIELDS = ("x", "y", "z", "r", "s", "theta", "phi", "eta", "cos_phi", "sin_phi")
"""Fields derived from each point, in this order."""

ETA_LIMIT = 10.0
"""Largest absolute eta of a derived field: a hit on the beam axis gets this value instead of infinity."""

PHI_CUT_WIDTH = 1e-5
"""How far beyond phi = pi (rad) a hit still gets pi: far more than the rounding of float32, far less than a sensor."""


class PointFields(nn.Module):
    """Coordinates, distances and angles of one point of each hit.

    The point is the mean of one or more coordinate triples. With its coordinates x, y, z:
    r = sqrt(x^2 + y^2), s = sqrt(x^2 + y^2 + z^2), theta = atan2(r, z) (which is arccos(z / s) without its
    loss of precision near the beam axis), phi = atan2(y, x), eta = -ln tan(theta / 2), cos_phi = x / r and
    sin_phi = y / r.

    phi jumps by 2 pi at x < 0, y = 0, where the middle of a sector may lie. So that rounding does not decide between
    pi and -pi, phi is pi up to ``PHI_CUT_WIDTH`` beyond the jump. cos_phi and sin_phi have no jump: they are the
    better inputs of a network.

    Every finite hit gives finite fields: on the beam axis phi is 0 and eta is +-``ETA_LIMIT`` (which also
    bounds eta close to the axis); at the origin, which has no direction, theta is pi/2, phi and eta are 0.

    Args:
        triples: Column numbers of x, y, z for each of the averaged triples.
        scale_factors: Factor to metres for each column, in the order of the columns.
    """

    index: Tensor
    scale: Tensor

    def __init__(self, triples: Sequence[Sequence[int]], scale_factors: Sequence[float]) -> None:
        super().__init__()
        self.num_triples = len(triples)
        self.eta_limit = ETA_LIMIT
        self.phi_cut_width = PHI_CUT_WIDTH
        index = [triple[axis] for axis in range(3) for triple in triples]  # all x, then all y, then all z
        scale = [scale_factors[column] for column in index]
        self.register_buffer("index", torch.tensor(index), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def forward(self, hits: Tensor) -> Tensor:
        """Computes the fields named in ``POINT_FIELDS``.

        Args:
            hits: Hits as on disk, [..., C].

        Returns:
            Metres and radians, [..., 10].
        """
        coordinates = hits.index_select(-1, self.index) * self.scale  # [..., 3 * triples]
        n = self.num_triples
        x = coordinates[..., :n].mean(-1)
        y = coordinates[..., n : 2 * n].mean(-1)
        z = coordinates[..., 2 * n :].mean(-1)
        r = torch.sqrt(x * x + y * y)
        s = torch.sqrt(x * x + y * y + z * z)
        theta = torch.atan2(r, z).masked_fill(s == 0, math.pi / 2)
        below_cut = (y <= 0) & (y >= self.phi_cut_width * x)  # holds at x < 0 only
        phi = torch.atan2(y.masked_fill(below_cut, 0.0), x).masked_fill(r == 0, 0.0)
        forward_eta = pseudorapidity(torch.atan2(r, z.abs()))  # an angle near pi has fewer digits than one near 0
        eta = torch.sign(z) * forward_eta.clamp(max=self.eta_limit)
        length = r.masked_fill(r == 0, 1.0)
        cos_phi = (x / length).masked_fill(r == 0, 1.0)
        sin_phi = y / length
        return torch.stack([x, y, z, r, s, theta, phi, eta, cos_phi, sin_phi], dim=-1)


class HitFeatures(nn.Module):
    """Turns hits as they are on disk into the hit fields of the model.

    A field is either a column, multiplied by its scale factor, or ``<prefix>x, y, z, r, s, theta, phi, eta,
    cos_phi, sin_phi`` of a point (see ``PointFields``). The module works under ``torch.jit.trace`` and
    ``torch.jit.script``, so that data set and exported model share it.

    Args:
        columns: Names of the C columns on disk, in their order.
        fields: Names of the F wanted fields, in the order of the result.
        scale_factors: Factor for each column or derived field; 1 where none is given. The coordinates of a
            point are scaled by the factors of their columns.
        points: For each prefix the coordinate triples (column names of x, y, z) whose mean is the point. A
            point whose columns are missing on disk gives no fields. None means those of `hitpool.muon`.

    Raises:
        ValueError: If a field is neither a column nor derived, is named twice or is ambiguous, if a point is
            not a list of triples, or if a given scale factor belongs to nothing.

    Example:
        >>> features = HitFeatures(["X", "Y", "Z", "t"], ["t", "r", "eta"], {"X": 1e-3, "Y": 1e-3, "Z": 1e-3},
        ...                        {"": [["X", "Y", "Z"]]})
        >>> features(torch.tensor([[3000.0, 4000.0, 5000.0, 7.0]]))
        tensor([[7.0000, 5.0000, 0.8814]])
    """

    index: Tensor
    scale: Tensor

    def __init__(
        self,
        columns: Sequence[str],
        fields: Sequence[str],
        scale_factors: Mapping[str, float] | None = None,
        points: Mapping[str, Sequence[Sequence[str]]] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.fields = list(fields)
        found = _available_points(POINTS if points is None else points, self.columns)
        derived = [prefix + name for prefix, triples in found.items() for name in _new_fields(prefix, triples, columns)]
        _check_fields(self.fields, self.columns, derived)
        scale_factors = scale_factors or {}
        _check_scale_factors(scale_factors, self.columns, derived)

        factors = [float(scale_factors.get(column, 1.0)) for column in self.columns]
        used = [prefix for prefix in found if any(prefix + name in self.fields for name in POINT_FIELDS)]
        self.points = nn.ModuleList(PointFields(found[prefix], factors) for prefix in used)
        available = self.columns + [prefix + name for prefix in used for name in POINT_FIELDS]
        scale = [float(scale_factors.get(field, 1.0)) for field in self.fields]
        used_columns = {column for prefix in used for triple in found[prefix] for column in triple}
        used_columns |= {self.columns.index(field) for field in self.fields if field in self.columns}
        self.used_columns = sorted(used_columns)  # numbers of the columns that have an influence
        self.register_buffer("index", torch.tensor([available.index(f) for f in self.fields]), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def forward(self, hits: Tensor) -> Tensor:
        """Computes the fields of each hit.

        Args:
            hits: Hits as on disk, [..., C].

        Returns:
            The fields, [..., F].
        """
        available = [hits]
        for point in self.points:
            available.append(point(hits))
        return torch.cat(available, dim=-1).index_select(-1, self.index) * self.scale


def _available_points(points: Mapping[str, Sequence[Sequence[str]]], columns: list[str]) -> dict[str, list[list[int]]]:
    """Replaces column names by column numbers and leaves out the points whose columns are missing."""
    available = {}
    for prefix, triples in points.items():
        if isinstance(triples, str) or not triples or any(isinstance(t, str) or len(t) != 3 for t in triples):
            raise ValueError(f"point '{prefix}': expected a list of column triples [[x, y, z], ...], got {triples!r}")
        if all(name in columns for triple in triples for name in triple):
            available[prefix] = [[columns.index(name) for name in triple] for triple in triples]
    return available


def _new_fields(prefix: str, triples: list[list[int]], columns: Sequence[str]) -> list[str]:
    """Fields of a point, without coordinates that are columns of the same name."""
    same = {columns[number] for number in triples[0]} if len(triples) == 1 else set()
    return [name for name in POINT_FIELDS if prefix + name not in same]


def _check_fields(fields: list[str], columns: list[str], derived: list[str]) -> None:
    if not fields:
        raise ValueError("hit fields: expected at least one field, got none")
    if duplicates := sorted({field for field in fields if fields.count(field) > 1}):
        raise ValueError(f"hit fields named more than once: {', '.join(duplicates)}")
    for field in fields:
        if field not in columns and field not in derived:
            raise ValueError(
                f"unknown hit field '{field}'{suggestion(field, columns + derived)}; "
                f"available columns: {', '.join(columns)}; "
                f"available derived fields: {', '.join(derived) or 'none (no point has its columns on disk)'}"
            )
        if field in columns and field in derived:
            raise ValueError(f"hit field '{field}' is both a column and derived from a point; give the point a prefix")


def _check_scale_factors(scale_factors: Mapping[str, float], columns: list[str], derived: list[str]) -> None:
    for name, factor in scale_factors.items():
        if name not in columns and name not in derived:
            raise ValueError(
                f"scale factor for unknown field '{name}'{suggestion(name, columns + derived)}; "
                f"available columns: {', '.join(columns)}; "
                f"available derived fields: {', '.join(derived) or 'none'}"
            )
        if not math.isfinite(factor):
            raise ValueError(f"scale factor of '{name}': expected a finite number, got {factor}")
