"""Tracks of a model as ACTS describes them: by d0, z0, phi, theta and q/p at the beam line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitpool.acts.start import covariance as start_covariance
from hitpool.evaluation.quantities import complete, with_direction

FITTED = ("qpt", "eta", "phi")


def check_known(quantities: Iterable[str]) -> None:
    """Checks that parameters say direction and momentum.

    Args:
        quantities: What is known of a track.

    Raises:
        ValueError: If they do not.
    """
    given = sorted(quantities)
    known = with_direction(complete(dict.fromkeys(given, np.ones(1))), {})[0]
    if not {"phi", "theta", "qop"} <= set(known):
        raise ValueError(
            "a track in ACTS has phi, theta and q/p: expected phi, eta or theta, and q/pT, q/p or pT with q among the "
            f"parameters of the model, got {', '.join(given) or 'none'}"
        )


def at_beam_line(values: Mapping[str, ArrayLike], innermost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parameters of T tracks in the form of ACTS.

    Without d0 it is 0; without z0 the line from the innermost hit along the direction of the track says it, which for
    the curved track is right to a few micrometres.

    Args:
        values: Parameters by quantity, that `check_known` takes, d0 and z0 in mm, [T] each.
        innermost: Position of the innermost hit of each track in mm, [T, 3].

    Returns:
        d0, z0 (mm), phi, theta, q/p (1/GeV), [T, 5].
    """
    known = with_direction(complete(values), {})[0]
    slope = 1 / np.tan(known["theta"])
    d0 = known.get("d0", np.zeros(len(innermost)))
    z0 = known.get("z0", innermost[:, 2] - np.hypot(innermost[:, 0], innermost[:, 1]) * slope)
    phi = np.angle(np.exp(1j * known["phi"]))  # -pi to pi
    return np.stack([d0, z0, phi, known["theta"], known["qop"]], axis=-1)


def innermost_hits(points: NDArray[np.float64], assigned: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Position of the hit of each track that is next to the beam line; NaN if it has none.

    Args:
        points: x, y, z of the hits, [M, 3].
        assigned: Hits of each track, [T, M].

    Returns:
        [T, 3].
    """
    none: NDArray[np.bool_] = np.logical_not(assigned.any(-1))
    if none.all():
        return np.full((len(assigned), 3), np.nan)
    distance = np.where(assigned, np.hypot(points[:, 0], points[:, 1]), np.inf)  # [T, M]
    return np.where(none[:, None], np.nan, points[distance.argmin(-1)])


def covariance_at_beam_line(
    parameters: NDArray[np.float64],
    errors: Mapping[str, ArrayLike],
    correlations: Mapping[tuple[str, str], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """What a model states of the errors of T tracks; else the wide ones with which `hitpool acts` starts its filter.

    Args:
        parameters: The tracks as of `at_beam_line`, [T, 5].
        errors: Standard deviations by quantity, [T] each.
        correlations: Of qpt with eta, qpt with phi and eta with phi, as far as they are stated, [T] each.

    Returns:
        Covariance of the parameters, [T, 5, 5].
    """
    theta, qop = parameters[:, 3], parameters[:, 4]
    covariance = start_covariance(parameters)
    sine = np.sin(theta)
    sigmas = with_direction({"eta": np.arctanh(np.cos(theta))}, errors)[1]
    for i, quantity in enumerate(("d0", "z0", "phi", "theta", "qop")):
        if quantity in sigmas:
            covariance[:, i, i] = sigmas[quantity] ** 2
    if set(FITTED) <= set(sigmas):
        correlation = np.broadcast_to(np.eye(3), (len(parameters), 3, 3)).copy()
        for (one, other), own in correlations.items():
            i, j = FITTED.index(one), FITTED.index(other)
            correlation[:, i, j] = correlation[:, j, i] = own
        spread = np.stack([sigmas[quantity] for quantity in FITTED], axis=-1)  # [T, 3]
        jacobian = np.zeros((len(parameters), 3, 3))  # of phi, theta, q/p
        jacobian[:, 0, 2] = 1
        jacobian[:, 1, 1] = -sine
        jacobian[:, 2, 0] = sine
        jacobian[:, 2, 1] = -qop * np.cos(theta)
        jacobian = jacobian * spread[:, None]
        covariance[:, 2:, 2:] = jacobian @ correlation @ jacobian.swapaxes(1, 2)
    return covariance
