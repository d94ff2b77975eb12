"""From the vertex to the spectrometer: bend in the solenoid, scattering and energy loss behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitpool.simulation.truth import Muons

SOLENOID_FIELD, SOLENOID_RADIUS, SOLENOID_HALF_LENGTH = 2.0, 1.15, 2.65
CALORIMETER_IN, CALORIMETER_OUT = (1.5, 3.7), (4.25, 6.7)  # transverse path, |z| (m)
MIN_MOMENTUM = 1.0
# Material of the spectrometer (radiation lengths), crossed at transverse path t or at |z| (m).
PLANES_T = np.array([4.9, 6.0, 7.2, 8.4])
PLANES_Z = np.array([7.3, 9.0, 12.0, 13.9])
PLANES_X = np.array([0.30, 0.35, 0.30, 0.35, 0.30, 0.50, 0.50, 0.40])


@dataclass(frozen=True)
class Line:
    """Transverse projection of a track: x = foot_x + t cos(phi), y = foot_y + t sin(phi).

    Args:
        foot_x, foot_y: Position at transverse path length t = 0 (m), [T].
        phi: Direction (rad), [T].
    """

    foot_x: NDArray[np.float64]
    foot_y: NDArray[np.float64]
    phi: NDArray[np.float64]

    def turned(self, t: NDArray[np.float64], angle: NDArray[np.float64]) -> Line:
        """The line turned around its point at t.

        Args:
            t: Transverse path length of the pivot (m), [T].
            angle: Change of the direction (rad), [T].

        Returns:
            A line with the same point at t.
        """
        phi = self.phi + angle
        return Line(
            self.foot_x + t * (np.cos(self.phi) - np.cos(phi)),
            self.foot_y + t * (np.sin(self.phi) - np.sin(phi)),
            phi,
        )


@dataclass(frozen=True)
class Passage:
    """What happens to a track between the vertex and the spectrometer, and the kicks inside it.

    Args:
        line: Transverse projection behind the calorimeter.
        calorimeter_path: Path length at the entry and the exit of the calorimeter (m), [T, 2].
        energy_loss: Momentum lost in the calorimeter (GeV), [T].
        calorimeter_kicks: Changes of the dip angle in the calorimeter (rad), [T, 2].
        spectrometer_kicks: Changes of the dip angle at the 8 material planes (rad), [T, 8].
    """

    line: Line
    calorimeter_path: NDArray[np.float64]
    energy_loss: NDArray[np.float64]
    calorimeter_kicks: NDArray[np.float64]
    spectrometer_kicks: NDArray[np.float64]


def scattering_angle(momentum: NDArray[np.float64], material: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread of the plane scattering angle, 13.6 MeV/p sqrt(X) (1 + 0.038 ln X).

    Args:
        momentum: p (GeV), at least 1 is used.
        material: X in radiation lengths, same shape or broadcastable.

    Returns:
        Angle (rad).

    Example:
        >>> float(scattering_angle(np.array(10.0), np.array(100.0)).round(4))
        0.016
    """
    return 0.0136 / np.maximum(momentum, MIN_MOMENTUM) * np.sqrt(material) * (1.0 + 0.038 * np.log(material))


def solenoid_line(muons: Muons) -> Line:
    """Transverse line behind the solenoid.

    The direction turns by -q D, D = 2 asin(0.2998 * 2 T * R / (2 pT)), R the radius at which the track leaves
    the solenoid.

    Args:
        muons: Muons at the vertex.

    Returns:
        The line, foot point next to the beam.
    """
    with np.errstate(divide="ignore"):
        radius = np.minimum(SOLENOID_RADIUS, SOLENOID_HALF_LENGTH / np.abs(np.sinh(muons.eta)))
    bend = 2.0 * np.arcsin(0.2998 * SOLENOID_FIELD * radius / (2.0 * muons.pt))
    phi = muons.phi - muons.charge * bend
    exit_phi = muons.phi - 0.5 * muons.charge * bend
    t_exit = radius * np.cos(exit_phi - phi)
    return Line(
        radius * np.cos(exit_phi) - t_exit * np.cos(phi),
        radius * np.sin(exit_phi) - t_exit * np.sin(phi),
        phi,
    )


def calorimeter_path(muons: Muons) -> NDArray[np.float64]:
    """Path length from the vertex to the entry and the exit of the calorimeter on a straight track.

    Args:
        muons: Muons at the vertex.

    Returns:
        Path lengths (m), [T, 2].
    """
    dip = np.arctan(np.sinh(muons.eta))
    cosine, sine = np.cos(dip), np.abs(np.sin(dip))
    z0 = muons.z0 * np.sign(muons.eta)
    with np.errstate(divide="ignore"):
        return np.stack([np.minimum(t / cosine, (z - z0) / sine) for t, z in (CALORIMETER_IN, CALORIMETER_OUT)], axis=1)


def energy_loss(muons: Muons) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of the momentum lost in the calorimeter.

    Mean m = (3.0 + 0.5 |eta|) (1 + 0.07 ln(max(p, 3) / 10)) GeV, spread 0.27 sqrt(m / 3) GeV.

    Args:
        muons: Muons at the vertex.

    Returns:
        Mean and spread (GeV), [T] each.
    """
    momentum = muons.pt * np.cosh(muons.eta)
    mean = (3.0 + 0.5 * np.abs(muons.eta)) * (1.0 + 0.07 * np.log(np.maximum(momentum, 3.0) / 10.0))
    return mean, 0.27 * np.sqrt(mean / 3.0)


def sample_energy_loss(rng: np.random.Generator, muons: Muons) -> NDArray[np.float64]:
    """Momentum lost in the calorimeter, Moyal distributed and drawn again if less than 1 GeV would be left.

    Args:
        rng: Source of random numbers.
        muons: Muons at the vertex.

    Returns:
        Momentum loss (GeV), [T].
    """
    momentum = muons.pt * np.cosh(muons.eta)
    mean, spread = energy_loss(muons)
    loss = np.empty_like(momentum)
    open_ = np.arange(loss.size)
    while open_.size:
        moyal = -np.log(rng.normal(size=open_.size) ** 2)
        loss[open_] = mean[open_] + spread[open_] * (moyal - 1.27) / 2.22
        open_ = open_[momentum[open_] - loss[open_] < MIN_MOMENTUM]
    return loss


def kick_spreads(muons: Muons, momentum: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spreads of the scattering angles, of each of the two kicks in the calorimeter and at the material planes.

    Args:
        muons: Muons at the vertex.
        momentum: Momentum behind the calorimeter (GeV), [T].

    Returns:
        Spreads of the dip angle (rad), [T] and [T, 8]; in azimuth the calorimeter's are larger by 1 / cos(dip).
    """
    eta = np.abs(muons.eta)
    dip = np.arctan(np.sinh(eta))
    material = (120.0 + 40.0 * np.minimum(eta, 1.5) / 1.5) / np.maximum(np.cos(dip), np.abs(np.sin(dip)))
    calorimeter = scattering_angle(momentum, material) / np.sqrt(2.0)
    return calorimeter, scattering_angle(momentum[:, None], PLANES_X[None, :])


def sample_passage(rng: np.random.Generator, muons: Muons) -> Passage:
    """Scattering and energy loss of each muon.

    The calorimeter scatters twice, by theta0 / sqrt(2) each, at its middle +- L / sqrt(12) (L the path in
    it), in the dip angle and, divided by cos(dip), in azimuth. The thin material of the spectrometer scatters
    in the dip angle only.

    Args:
        rng: Source of random numbers.
        muons: Muons at the vertex.

    Returns:
        One passage per muon.
    """
    cos_dip = np.cos(np.arctan(np.sinh(muons.eta)))
    path = calorimeter_path(muons)
    loss = sample_energy_loss(rng, muons)
    spread, spectrometer = kick_spreads(muons, muons.pt * np.cosh(muons.eta) - loss)
    kicks = rng.normal(size=(loss.size, 2)) * spread[:, None]
    kicks_phi = rng.normal(size=(loss.size, 2)) * (spread / cos_dip)[:, None]
    line = solenoid_line(muons)
    for i, s in enumerate(kick_paths(path).T):
        line = line.turned(s * cos_dip, kicks_phi[:, i])
    return Passage(line, path, loss, kicks, rng.normal(size=spectrometer.shape) * spectrometer)


def kick_paths(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Path lengths of the two scatterings in the calorimeter, its middle +- L / sqrt(12).

    Args:
        path: Path length at the entry and the exit (m), [T, 2].

    Returns:
        Path lengths (m), [T, 2].

    Example:
        >>> kick_paths(np.array([[1.0, 1.0 + 12**0.5]])).round(3)
        array([[1.732, 3.732]])
    """
    middle = path.mean(axis=1)
    offset = (path[:, 1] - path[:, 0]) / np.sqrt(12.0)
    return np.stack([middle - offset, middle + offset], axis=1)
