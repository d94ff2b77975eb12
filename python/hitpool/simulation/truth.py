"""Muons at the vertex: how many, with which momentum, direction and charge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hitpool.simulation.settings import Settings

JPSI, Z, TTBAR = 0, 1, 2
PROCESS_SHARES = (0.20, 0.48, 0.32)
ETA_SLOPE = 0.51
CRACK_ETA = 0.08


@dataclass(frozen=True)
class Muons:
    """Muons at the vertex, ordered by event.

    Args:
        event: Index of the event, [T] int64.
        pt: Transverse momentum (GeV), [T].
        eta: Pseudorapidity, [T].
        phi: Azimuth in (-pi, pi], [T].
        charge: +1 or -1, [T].
        z0: Position of the vertex on the beam line (m), [T].
    """

    event: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    charge: NDArray[np.float64]
    z0: NDArray[np.float64]

    def take(self, which: NDArray[np.int64 | np.bool_] | slice) -> Muons:
        """Some of the muons.

        Args:
            which: Indices, mask or slice.

        Returns:
            These muons.
        """
        return Muons(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def wrap(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle brought into (-pi, pi].

    Args:
        angle: Any angle (rad), any shape.

    Returns:
        The same direction, same shape.

    Example:
        >>> wrap(np.array([-np.pi, 0.5, 1.5 * np.pi])).round(3)
        array([ 3.142,  0.5  , -1.571])
    """
    return np.pi - np.mod(np.pi - angle, 2.0 * np.pi)


def _redraw(
    draw: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    accept: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    size: int,
) -> NDArray[np.float64]:
    """Values of `draw(indices)`, drawn again where `accept(values)` is False."""
    values = np.empty(size)
    open_ = np.arange(size)
    while open_.size:
        values[open_] = draw(open_)
        open_ = open_[~accept(values[open_])]
    return values


def sample_pt(rng: np.random.Generator, process: NDArray[np.int64], settings: Settings) -> NDArray[np.float64]:
    """Transverse momenta of one of the spectra.

    The mixture has three parts: 5 + Gamma(1.15) * 4 GeV (J/psi), the Jacobian peak 45.6 GeV sqrt(1 - c^2)
    smeared by 18 % (Z), 5 + Gamma(1.4) * 33 GeV (ttbar), each within the limits of the settings.

    Args:
        rng: Source of random numbers.
        process: 0 J/psi, 1 Z, 2 ttbar, [T]; only the mixture looks at it.
        settings: Spectrum and limits.

    Returns:
        Transverse momentum (GeV), [T].
    """
    low, high = settings.pt_min, settings.pt_max
    size = process.size
    if settings.spectrum == "fixed":
        return np.full(size, settings.pt)
    if settings.spectrum == "falling":
        return 1.0 / (1.0 / low - rng.random(size) * (1.0 / low - 1.0 / high))
    if settings.spectrum == "loguniform":
        return low * (high / low) ** rng.random(size)

    def draw(indices: NDArray[np.int64]) -> NDArray[np.float64]:
        kind = process[indices]
        n = indices.size
        cosine = rng.random(n)
        peak = 45.6 * np.sqrt(1.0 - cosine * cosine) * np.exp(rng.normal(0.0, 0.18, n))
        tail = 5.0 + rng.gamma(np.where(kind == JPSI, 1.15, 1.4), np.where(kind == JPSI, 4.0, 33.0))
        return np.where(kind == Z, peak, tail)

    return _redraw(draw, lambda pt: (pt >= low) & (pt <= high), size)


def sample_eta(rng: np.random.Generator, size: int, eta_max: float = 2.7) -> NDArray[np.float64]:
    """Pseudorapidities with density 1 - 0.51 |eta| / eta_max, halved in the service crack |eta| < 0.08.

    Args:
        rng: Source of random numbers.
        size: Number of values T.
        eta_max: Largest absolute value.

    Returns:
        Pseudorapidity, [T].
    """
    a = ETA_SLOPE

    def draw(indices: NDArray[np.int64]) -> NDArray[np.float64]:
        u = rng.random(indices.size)
        magnitude = eta_max * (1.0 - np.sqrt(1.0 - 2.0 * a * u * (1.0 - a / 2.0))) / a
        return np.where(rng.random(indices.size) < 0.5, -magnitude, magnitude)

    return _redraw(draw, lambda eta: _outside_crack(rng, eta), size)


def _outside_crack(rng: np.random.Generator, eta: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (np.abs(eta) >= CRACK_ETA) | (rng.random(eta.size) < 0.5)


def sample_muons(rng: np.random.Generator, events: int, settings: Settings) -> Muons:
    """One or two muons per event.

    The process is drawn per event. The two muons of a pair have opposite charge and a common vertex; those of
    a J/psi lie 0.25 (spread in eta and in phi) apart, those of a Z back to back within 0.5 rad, all others
    are independent.

    Args:
        rng: Source of random numbers.
        events: Number of events.
        settings: Spectrum, limits, share of pairs, width of the vertex.

    Returns:
        The muons of all events.
    """
    process = rng.choice(3, size=events, p=PROCESS_SHARES)
    if settings.spectrum != "mixture":
        process[:] = TTBAR
    pair = rng.random(events) < settings.pair_probability
    counts = 1 + pair.astype(np.int64)
    event = np.repeat(np.arange(events), counts)
    first = np.cumsum(counts) - counts
    second = first[pair] + 1

    eta = sample_eta(rng, event.size, settings.eta_max)
    phi = rng.uniform(-np.pi, np.pi, event.size)
    charge = np.where(rng.random(event.size) < 0.5, -1.0, 1.0)
    charge[second] = -charge[second - 1]

    close = second[process[pair] == JPSI]
    eta[close] = _redraw(
        lambda i: eta[close[i] - 1] + rng.normal(0.0, 0.25, i.size),
        lambda value: (np.abs(value) <= settings.eta_max) & _outside_crack(rng, value),
        close.size,
    )
    phi[close] = phi[close - 1] + rng.normal(0.0, 0.25, close.size)
    back = second[process[pair] == Z]
    phi[back] = phi[back - 1] + np.pi + rng.normal(0.0, 0.5, back.size)

    return Muons(
        event=event,
        pt=sample_pt(rng, process[event], settings),
        eta=eta,
        phi=wrap(phi),
        charge=charge,
        z0=rng.normal(0.0, settings.z0_width, events)[event],
    )
