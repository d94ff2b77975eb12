"""What a data set consists of: one immutable set of generator settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Preset = Literal["full", "sample"]
Spectrum = Literal["mixture", "falling", "loguniform", "fixed"]
Background = Literal["clean", "normal", "dense", "raw"]

BACKGROUND_MEAN: dict[str, float] = {"clean": 13.0, "normal": 20.0, "dense": 35.0, "raw": 6830.0}
NSW_LINK: dict[str, float] = {"full": 1.0, "sample": 0.02}


@dataclass(frozen=True)
class Settings:
    """Settings of the event generator.

    Args:
        preset: "full" keeps the truth of the inner endcap wheel, "sample" hides 98 % of it.
        spectrum: Distribution of the transverse momentum.
        pt: Transverse momentum of the "fixed" spectrum (GeV), at least 5.
        background: Amount of background; "raw" is the event before any hit filter.
        align: Spread of the alignment error of a station (mm).
        pair_probability: Share of events with two muons.
        pt_min: Lower end of the other spectra (GeV).
        pt_max: Upper end of the other spectra (GeV).
        eta_max: Largest absolute pseudorapidity.
        z0_width: Spread of the vertex along the beam (m).
        step: Step of the integrator (m of path).
        ripple: Relative modulation of the barrel field in azimuth.
        mdt_efficiency: Efficiency of one drift tube, its wall not counted.
        filter_efficiency: Share of true hits that the hit filter keeps.
        max_hits: Most hits of an event; "raw" events are not cut.
        min_hits: Fewest hits of a track that counts.

    Raises:
        ValueError: If a setting is unknown or outside its range.

    Example:
        >>> Settings(preset="sample").nsw_link
        0.02
    """

    preset: Preset = "full"
    spectrum: Spectrum = "mixture"
    pt: float = 50.0
    background: Background = "normal"
    align: float = 0.0
    pair_probability: float = 0.5
    pt_min: float = 5.0
    pt_max: float = 200.0
    eta_max: float = 2.7
    z0_width: float = 0.045
    step: float = 0.10
    ripple: float = 0.10
    mdt_efficiency: float = 0.96
    filter_efficiency: float = 0.99
    max_hits: int = 600
    min_hits: int = 3

    def __post_init__(self) -> None:
        for name, known in (
            ("preset", NSW_LINK),
            ("spectrum", ("mixture", "falling", "loguniform", "fixed")),
            ("background", BACKGROUND_MEAN),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not (math.isfinite(self.pt) and self.pt >= 5.0):
            raise ValueError(f"pt: expected a finite value of at least 5 GeV, got {self.pt}")
        if not (math.isfinite(self.align) and self.align >= 0.0):
            raise ValueError(f"align: expected a finite length of at least 0 mm, got {self.align}")

    @property
    def nsw_link(self) -> float:
        """Probability that the hits of a track in the inner endcap wheel carry its truth link."""
        return NSW_LINK[self.preset]

    @property
    def background_mean(self) -> float:
        """Mean number of background hits per event."""
        return BACKGROUND_MEAN[self.background]

    @property
    def raw(self) -> bool:
        """Whether events are written as they are before the hit filter."""
        return self.background == "raw"
