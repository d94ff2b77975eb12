"""The best possible resolution of each simulated muon, from a table over momentum, direction, sector and charge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RegularGridInterpolator

from hitpool.evaluation.tracks import Estimate, Tracks
from hitpool.simulation import Bound, Muons, Settings, cramer_rao_bound
from hitpool.simulation.generate import GENERATOR_VERSION
from hitpool.simulation.geometry import LARGE, SMALL
from hitpool.simulation.material import solenoid_line

MOMENTA = (5.0, 7.0, 10.0, 14.0, 20.0, 30.0, 50.0, 80.0, 130.0, 200.0, 400.0, 1000.0)  # GeV
ETAS = tuple(np.arange(0.05, 2.7, 0.1))
# Azimuth from the middle of a large sector: there up to the first border, then large and small overlap, then small.
BORDERS = (SMALL[0] - SMALL[1], LARGE[1])
AZIMUTHS = (BORDERS[0] / 2, sum(BORDERS) / 2, (BORDERS[1] + SMALL[0]) / 2)
CHARGES = (-1.0, 1.0)  # times the sign of eta: the detector is its mirror image with opposite charges


def resolution_bound(
    pt: ArrayLike, eta: ArrayLike, phi: ArrayLike, charge: ArrayLike, settings: Settings | None = None
) -> Bound:
    """Cramér-Rao bound of muons, between the points of a table.

    The table (`hitpool.simulation.cramer_rao_bound` at 12 pT, 27 |eta|, 3 kinds of azimuth and both charges) is made at
    the first call with these settings, in some seconds. Its logarithm is interpolated in log(pT) and |eta|; the kind
    of azimuth, large sector, small sector or both, is that behind the solenoid. Two of three muons of the simulated
    spectrum are within 2 % of their own bound. Outside the table its border counts; so it does for |eta| < 0.05, where
    many tracks miss some stations.

    Args:
        pt: Transverse momentum (GeV), [T].
        eta: Pseudorapidity, [T].
        phi: Azimuth at the vertex (rad), [T].
        charge: Charge, or any number with its sign, [T].
        settings: How the muons are simulated.

    Returns:
        The bound, arrays [T].
    """
    pt, eta, phi, charge = (np.asarray(values, np.float64) for values in (pt, eta, phi, charge))
    table = _table(settings or Settings())
    muons = Muons(np.arange(pt.size), pt, eta, phi, np.sign(charge), np.zeros_like(pt))
    azimuth = _from_large_sector(solenoid_line(muons).phi)
    kind, side = np.searchsorted(BORDERS, azimuth), (charge * eta > 0).astype(int)
    point = np.stack([np.log(pt), np.abs(eta)], axis=1)
    inside = np.clip(point, [np.log(MOMENTA[0]), ETAS[0]], [np.log(MOMENTA[-1]), ETAS[-1]])
    return Bound(*np.exp(table(inside)[np.arange(pt.size), kind, side].T))


def bound_of_data_set(generator: Any, tracks: Tracks) -> Estimate | None:
    """Bound of the particles of a data set, if `hitpool simulate` wrote it in its present version.

    Args:
        generator: What the metadata say of the generator.
        tracks: The particles.

    Returns:
        An estimate that has errors only, of qpt (relative), eta and phi; None for other data, or if one of pt, eta,
        phi, q is not known.
    """
    stored = generator if isinstance(generator, Mapping) else {}
    settings, names = stored.get("settings"), ("pt", "eta", "phi", "q")
    if stored.get("version") != GENERATOR_VERSION or not isinstance(settings, Mapping):
        return None
    if set(settings) != set(asdict(Settings())) or not set(names) <= set(tracks.true):
        return None
    pt, eta, phi, charge = (tracks.true[name][tracks.particle] for name in names)
    bound = resolution_bound(pt, eta, phi, charge, Settings(**settings))
    errors = {}
    for quantity, values in vars(bound).items():
        errors[quantity] = np.full(tracks.particle.shape, np.nan)
        errors[quantity][tracks.particle] = values
    return Estimate(tracks.particle, errors=errors)


def _from_large_sector(azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the middle of the next large sector, 0 to pi/8."""
    return np.abs(np.mod(azimuth + SMALL[0], 2 * SMALL[0]) - SMALL[0])


@lru_cache(maxsize=4)
def _table(settings: Settings) -> RegularGridInterpolator:
    """Logarithm of the bound [sectors, charges, 3] at a point of log(pT) and |eta|."""
    shape = len(MOMENTA), len(ETAS), len(AZIMUTHS), len(CHARGES)
    grid = np.meshgrid(MOMENTA, ETAS, AZIMUTHS, CHARGES, indexing="ij")
    pt, eta, azimuth, charge = (values.ravel() for values in grid)
    unturned = Muons(np.arange(pt.size), pt, eta, np.zeros_like(pt), charge, np.zeros_like(pt))
    phi = azimuth - solenoid_line(unturned).phi
    bound = cramer_rao_bound(Muons(unturned.event, pt, eta, phi, charge, unturned.z0), settings)
    values = np.log(np.stack([bound.qpt, bound.eta, bound.phi], axis=-1)).reshape(*shape, 3)
    return RegularGridInterpolator((np.log(MOMENTA), ETAS), values)
