"""Columns of the muon-spectrometer data sets: what they are called, their units, scales, ranges and codes."""

from collections.abc import Mapping
from math import inf, pi
from typing import NamedTuple

from hitpool.quantity import quantity_of


class Column(NamedTuple):
    """What is known of a column.

    Args:
        unit: Unit on disk; empty if it has none.
        scale: Factor that makes a hit column of order one, and a coordinate metres, as in `muon.yaml`.
        low: Lowest expected value.
        high: Highest expected value.
    """

    unit: str = ""
    scale: float = 1.0
    low: float = -inf
    high: float = inf


HIGH_EDGE = ("spacePoint_globEdgeHighX", "spacePoint_globEdgeHighY", "spacePoint_globEdgeHighZ")
LOW_EDGE = ("spacePoint_globEdgeLowX", "spacePoint_globEdgeLowY", "spacePoint_globEdgeLowZ")
TRUTH_LINK = "spacePoint_truthLink"
TECHNOLOGY = "spacePoint_technology"
MDT, CSC, RPC, TGC, STGC, MM = range(6)
TECHNOLOGIES = {MDT: "MDT", CSC: "CSC", RPC: "RPC", TGC: "TGC", STGC: "sTGC", MM: "MM"}
"""Meaning of the codes in `TECHNOLOGY`."""

_TRANSVERSE, _ALONG = Column("mm", 1e-3, -15e3, 15e3), Column("mm", 1e-3, -25e3, 25e3)
HITS = {
    **dict(zip(HIGH_EDGE + LOW_EDGE, 2 * (_TRANSVERSE, _TRANSVERSE, _ALONG), strict=True)),
    "spacePoint_time": Column("ns", 2e-3, -1e3, 20e3),
    "spacePoint_driftR": Column("mm", 0.1, 0, 15),
    "spacePoint_readOutSide": Column(),
    "spacePoint_covXX": Column("mm^2", 1e-6, -1e3, 1e7),
    "spacePoint_covXY": Column("mm^2", 1e-6, -3e5, 3e5),
    "spacePoint_covYX": Column("mm^2", 1e-6, -1.5e5, 1.5e5),
    "spacePoint_covYY": Column("mm^2", 1e-2, 0, 1.3e6),
    "spacePoint_channel": Column("", 1e-2, 0, 6000),
    "spacePoint_layer": Column("", 0.2, 0, 10),
    "spacePoint_stationPhi": Column("", 0.1, 0, 50),
    "spacePoint_stationEta": Column("", 0.3, -10, 10),
    "spacePoint_stationIndex": Column("", 0.03, 0, 60),
    TECHNOLOGY: Column("", 0.3, min(TECHNOLOGIES), max(TECHNOLOGIES)),
    TRUTH_LINK: Column(),
}
"""Columns of hits, in their order on disk."""

TRACKS = {
    "truthMuon_pt": Column("GeV", low=5),
    "truthMuon_eta": Column(low=-2.7, high=2.7),
    "truthMuon_phi": Column("rad", low=-pi, high=pi),
    "truthMuon_q": Column("e", low=-1, high=1),
}
"""Columns of tracks, in their order on disk."""

POSITIONS = {f"spacePoint_globPos{axis}": Column("mm", 1e-3) for axis in "XYZ"}
"""Further columns of data sets with true hits only."""

COLUMNS = HITS | TRACKS | POSITIONS

POINTS = {"": [list(LOW_EDGE)], "mid_": [list(LOW_EDGE), list(HIGH_EDGE)]}
"""Points of a hit: low edge of the sensor (no prefix) and its midpoint (`mid_`); see `hitpool.data.HitFeatures`."""

UNITS = {quantity_of(name): column.unit for name, column in COLUMNS.items()} | {
    "qpt": "1/GeV",
    "qop": "1/GeV",
    "theta": "rad",
}
"""Unit by quantity; what is not listed has none."""


def unit(field: str, units: Mapping[str, str] | None = None) -> str:
    """Unit of a column or field.

    Args:
        field: Its name, such as `truthMuon_pt`.
        units: Units that the data set says; others follow from the names of quantities.

    Returns:
        The unit; empty if there is none.

    Example:
        >>> unit("spacePoint_globEdgeLowX"), unit("truthMuon_eta")
        ('mm', '')
    """
    own = field.removesuffix("_error")
    return (units or {}).get(own) or UNITS.get(quantity_of(own), "")
