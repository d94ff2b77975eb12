"""How well its hits determine a muon: Cramér-Rao bound by the simulation's own propagation.

Parameters are q/pT, eta and phi at the vertex and all that a track happens to meet: position of the vertex, energy
loss, scattering angles, displaced stations. The latter have known spreads. With J the derivatives of the measured
coordinates and W their information, 1 / variance times the probability that there is a hit,

    F = J^T W J + diag(1 / spread^2),   covariance = F^-1.

The variances of q/pT, eta and phi in F^-1 are the smallest of all estimates that are linear in the measurements: a
least-squares fit with the true hits and the true sides of the wires reaches them. The spread of the energy loss is its
standard deviation; the core of the Moyal distribution is narrower, so that sigma68 of q/pT can be up to 12 % smaller
where only the energy loss limits it (barrel, below 10 GeV).

Source: C. R. Rao, Bull. Calcutta Math. Soc. 37 (1945) 81; H. Cramér, Mathematical Methods of Statistics (1946), chapter
32; with known spreads H. L. Van Trees, Detection, Estimation, and Modulation Theory I (1968), section 2.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitpool.muon import MDT
from hitpool.simulation.crossings import Crossings, layer_crossings
from hitpool.simulation.events import STATION_LOSS, partly_linked, sensor_efficiency
from hitpool.simulation.geometry import GROUPS, TUBE_PITCH, TUBE_RADIUS, Layers, muon_layers
from hitpool.simulation.material import (
    MIN_MOMENTUM,
    Passage,
    calorimeter_path,
    energy_loss,
    kick_paths,
    kick_spreads,
    solenoid_line,
)
from hitpool.simulation.propagation import Plan, propagate
from hitpool.simulation.readout import MM_PER_M, SECOND_EFFICIENCY, drift_resolution, second_pitch, strip_precision
from hitpool.simulation.settings import Settings
from hitpool.simulation.signals import DELTA_ELECTRONS, SECOND_TUBE
from hitpool.simulation.truth import Muons

# Parameters of the propagation, [T, 17]; those of the vertex have no known spread.
QPT, ETA, PHI, Z0, LOSS = range(5)
CALORIMETER_KICKS, AZIMUTH_KICKS, SPECTROMETER_KICKS = slice(5, 7), slice(7, 9), slice(9, 17)
PARAMETERS, FREE = 17, 3
RELATIVE_UNIT, ANGLE_UNIT = 0.01, 1e-3  # of q/pT; of eta and phi
STEP = 0.01  # of the derivatives, in the unit of the parameter
WIDEST = 1e5  # standard deviation of what no hit measures, in the unit of the parameter
LEAST_LINKED = 0.5  # chambers that carry the link more rarely do not count
CHUNK = 128  # tracks at a time
Information = Callable[[Crossings, Layers, Settings], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Bound:
    """Smallest standard deviations of the parameters of T muons.

    Args:
        qpt: Of q/pT divided by it, [T].
        eta: Of the pseudorapidity, [T].
        phi: Of the azimuth (rad), [T].
    """

    qpt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]


def expected_information(
    crossings: Crossings, layers: Layers, settings: Settings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean information of what a track leaves in each layer it crosses, as a hit that carries its link.

    Drift tubes measure the distance R to the wire, anywhere between 0 and the wall, with 1 / sigma(R)^2; strips and
    wire groups their pitch / sqrt(12). Delta electrons spoil tubes.

    Args:
        crossings: Of T tracks with L layers.
        layers: Geometry table.
        settings: Efficiencies, truth of the inner endcap wheel.

    Returns:
        Information on the coordinate and along the strip (1/m^2), [T, L] each.
    """
    probability = sensor_efficiency(settings)[layers.technology] * settings.filter_efficiency * (1.0 - STATION_LOSS)
    for chambers, linked in partly_linked(layers, settings):
        probability = probability * np.where(chambers, linked if linked >= LEAST_LINKED else 0.0, 1.0)
    on_channels = (crossings.coordinate > layers.low) & (crossings.coordinate < layers.high)
    probability = probability * (crossings.inside & on_channels)  # [T, L]
    tubes = (1.0 - DELTA_ELECTRONS) * _tube_information(crossings.cos_alpha)
    pitch = second_pitch(layers.technology, crossings.coordinate)
    along = np.divide(12.0, pitch**2, out=np.zeros_like(pitch), where=pitch > 0.0)
    return (
        probability * np.where(layers.technology == MDT, tubes, 1.0 / strip_precision(layers) ** 2),
        probability * SECOND_EFFICIENCY * along,
    )


def _tube_information(cos_alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of cos(alpha)^2 / sigma(R)^2 over the place of a track in a layer of tubes, per unit of efficiency.

    R = x cos(alpha) with x, the distance along the layer, uniform up to half a pitch in the nearest tube, and beyond in
    the next one, which is kept with the probability `SECOND_TUBE`.
    """
    radius = np.linspace(0.0, TUBE_RADIUS, 200)
    information = (MM_PER_M / drift_resolution(radius * MM_PER_M)) ** 2  # 1/m^2
    integral = np.concatenate([[0.0], np.cumsum((information[1:] + information[:-1]) / 2.0) * radius[1]])
    nearest = np.interp(0.5 * TUBE_PITCH * cos_alpha, radius, integral)
    both: NDArray[np.float64] = nearest + SECOND_TUBE * (integral[-1] - nearest)
    return both * 2.0 * cos_alpha / TUBE_PITCH


@dataclass(frozen=True)
class Linearised:
    """Measurements near the expected track as linear functions of the parameters.

    Args:
        expected: Coordinates of the L layers, then the places along the strips, of the expected track (m), [T, 2 L].
        jacobian: Derivatives with respect to the parameters in their units (m), [T, 2 L, P].
        information: Of each measurement (1/m^2), [T, 2 L].
        unit: Unit of each parameter, its spread if that is known, [T, P]; P are those of the propagation and the
            displacements of the stations.
    """

    expected: NDArray[np.float64]
    jacobian: NDArray[np.float64]
    information: NDArray[np.float64]
    unit: NDArray[np.float64]

    def covariance(self) -> NDArray[np.float64]:
        """Inverse of the Fisher information, in the units of the parameters, [T, P, P]."""
        known = np.ones(self.unit.shape[1])
        known[:FREE] = WIDEST**-2
        weighted = (self.information[..., None] * self.jacobian).swapaxes(1, 2)
        return np.asarray(np.linalg.inv(weighted @ self.jacobian + np.diag(known)), np.float64)


def linearise(
    muons: Muons, settings: Settings, layers: Layers | None = None, information: Information = expected_information
) -> Linearised:
    """Derivatives of all measurements by central differences, every track scattered where the expected one is.

    Central, because what happens before and behind the magnet differs by little, as the energy loss and q/pT do:
    curvature in the differences would tell them apart.

    Args:
        muons: T muons at the vertex.
        settings: Field, step, width of the vertex, alignment error and what `information` needs.
        layers: Geometry table; by default that of the muon spectrometer.
        information: As `expected_information`.

    Returns:
        The linear functions.
    """
    layers = layers or muon_layers()
    nominal, unit = _parameters(muons, settings)
    path, tracks = calorimeter_path(muons), muons.pt.size
    expected, plan = _crossings(nominal, path, layers, settings)
    steps = STEP * np.array([1, -1])[:, None, None, None] * np.eye(PARAMETERS)[:, None] * unit  # [2, 17, T, 17]
    moved, _ = _crossings((nominal + steps).reshape(-1, PARAMETERS), path, layers, settings, plan)
    jacobian = np.zeros((tracks, 2 * len(layers), PARAMETERS + GROUPS))
    for half, name in enumerate(("coordinate", "tangential")):
        above, below = getattr(moved, name).reshape(2, PARAMETERS, tracks, -1)
        rows = slice(half * len(layers), (half + 1) * len(layers))
        jacobian[:, rows, :PARAMETERS] = np.moveaxis(above - below, 0, -1) / (2.0 * STEP)
    jacobian[:, : len(layers), PARAMETERS:] = settings.align / MM_PER_M * (layers.group[:, None] == np.arange(GROUPS))

    same = moved.inside & (moved.sector == np.tile(expected.sector, (2 * PARAMETERS, 1)))
    same = same.reshape(2 * PARAMETERS, tracks, -1)
    weights = [np.where(same.all(0), values, 0.0) for values in information(expected, layers, settings)]
    return Linearised(
        np.concatenate([expected.coordinate, expected.tangential], axis=1),
        jacobian,
        np.concatenate(weights, axis=1),
        np.concatenate([unit, np.full((tracks, GROUPS), settings.align / MM_PER_M)], axis=1),
    )


def _parameters(muons: Muons, settings: Settings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parameters of the propagation as they are expected, and their units, [T, 17] each."""
    momentum = muons.pt * np.cosh(muons.eta)
    loss, loss_spread = energy_loss(muons)
    loss = np.minimum(loss, momentum - MIN_MOMENTUM)
    calorimeter, spectrometer = kick_spreads(muons, momentum - loss)

    nominal, unit = np.zeros((2, muons.pt.size, PARAMETERS))
    for column, value, its_unit in (
        (QPT, muons.charge / muons.pt, RELATIVE_UNIT * muons.charge / muons.pt),
        (ETA, muons.eta, ANGLE_UNIT),
        (PHI, muons.phi, ANGLE_UNIT),
        (Z0, muons.z0, settings.z0_width),
        (LOSS, loss, loss_spread),
        (CALORIMETER_KICKS, 0.0, calorimeter[:, None]),
        (AZIMUTH_KICKS, 0.0, (calorimeter * np.cosh(muons.eta))[:, None]),  # 1 / cos(dip) = cosh(eta)
        (SPECTROMETER_KICKS, 0.0, spectrometer),
    ):
        nominal[:, column], unit[:, column] = value, its_unit
    return nominal, unit


def _crossings(
    parameters: NDArray[np.float64],
    path: NDArray[np.float64],
    layers: Layers,
    settings: Settings,
    plan: Plan | None = None,
) -> tuple[Crossings, Plan | None]:
    """Crossings of tracks with given parameters [K T, 17]; path and plan are those of the T expected tracks."""
    repeats = len(parameters) // max(1, len(path))
    path = np.tile(path, (repeats, 1))
    if plan is not None:
        plan = Plan(
            np.tile(plan.calorimeter, (repeats, 1)),
            np.tile(plan.loss, repeats),
            np.tile(plan.spectrometer, (repeats, 1)),
        )
    qpt, eta, phi, z0, loss = parameters[:, : LOSS + 1].T
    line = solenoid_line(Muons(np.arange(qpt.size), 1.0 / np.abs(qpt), eta, phi, np.sign(qpt), z0))
    for place, kick in zip(kick_paths(path).T, parameters[:, AZIMUTH_KICKS].T, strict=True):
        line = line.turned(place / np.cosh(eta), kick)
    passage = Passage(line, path, loss, parameters[:, CALORIMETER_KICKS], parameters[:, SPECTROMETER_KICKS])
    trajectory = propagate(
        qpt / np.cosh(eta), np.arctan(np.sinh(eta)), z0, passage, settings.step, settings.ripple, plan
    )
    return layer_crossings(trajectory, layers), trajectory.plan


def cramer_rao_bound(
    muons: Muons,
    settings: Settings | None = None,
    layers: Layers | None = None,
    information: Information = expected_information,
) -> Bound:
    """Smallest standard deviations of q/pT, eta and phi that the hits of each muon allow on average.

    Args:
        muons: T muons at the vertex.
        settings: How they are simulated.
        layers: Geometry table; by default that of the muon spectrometer.
        information: As `expected_information`.

    Returns:
        The bound of each muon; very large where the hits do not determine a parameter.

    Example:
        >>> muon = Muons(*(np.array([value]) for value in (0, 50.0, 0.5, 0.1, 1.0, 0.0)))
        >>> float(cramer_rao_bound(muon).qpt[0].round(3))
        0.021
    """
    settings = settings or Settings()
    bounds = np.zeros((FREE, muons.pt.size))
    for start in range(0, muons.pt.size, CHUNK):
        some = slice(start, start + CHUNK)
        covariance = linearise(muons.take(some), settings, layers, information).covariance()
        bounds[:, some] = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)[:, :FREE].T)
    return Bound(RELATIVE_UNIT * bounds[QPT], ANGLE_UNIT * bounds[ETA], ANGLE_UNIT * bounds[PHI])
