"""The tracks of another program, from the file beside the data set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.evaluation.finding.found import Found, Named, belonging
from hitpool.evaluation.finding.particles import Particles
from hitpool.evaluation.quantities import complete
from hitpool.files import EventIndex, found_tracks_path, read_found_tracks


def reference_tracks(index: EventIndex, finder: str, particles: Particles) -> Found:
    """Reads the tracks of the events of a test.

    Args:
        index: Of the data set.
        finder: Name of what found them, such as ckf.
        particles: The particles of the events.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or not of these events.
    """
    stored = read_found_tracks(index, finder)
    row = np.full(len(index), -1)
    row[particles.events] = np.arange(len(particles.events))
    event = np.repeat(row, stored.num_tracks)  # [all tracks]
    chosen = event >= 0
    track = np.repeat(np.cumsum(chosen) - 1, stored.num_hits)  # [all hits]
    kept = np.repeat(chosen, stored.num_hits)
    event, track, hits = event[chosen], track[kept], stored.hits[kept].astype(np.int64)
    own = event[track]
    outside = (hits < 0) | (hits >= np.diff(particles.first_hit)[own])
    if outside.any():
        bad = int(np.argmax(outside))
        raise ValueError(
            f"{found_tracks_path(index.directory, finder)}: a track has hit {hits[bad]}, expected rows of the "
            f"{np.diff(particles.first_hit)[own[bad]]} hits of {index.where(int(particles.events[own[bad]]))}"
        )
    owner = particles.owner[particles.first_hit[own] + hits]
    parameters, covariance = (np.asarray(own[chosen], np.float64) for own in (stored.parameters, stored.covariance))
    return belonging(particles, event, track, owner, *known(parameters, covariance))


def known(parameters: NDArray[Any], covariance: NDArray[Any]) -> tuple[Named, Named]:
    r"""Quantities of parameters at the beam line, and their errors by linear propagation.

    With $q/p_T = (q/p) / \sin\theta$ and $\eta = -\ln\tan(\theta/2)$.

    Args:
        parameters: d0 (mm), z0 (mm), phi, theta, q/p (1/GeV), [T, 5].
        covariance: Their covariance, [T, 5, 5]; a negative variance becomes NaN.
    """
    d0, z0, phi, theta, qop = parameters.T
    sine, cosine = np.sin(theta), np.cos(theta)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {"d0": d0, "z0": z0, "phi": phi, "theta": theta, "qop": qop, "qpt": qop / sine}
        slope = -values["qpt"] * cosine / sine  # d(q/pT) / d theta
        of = {name: covariance[:, i, i] for i, name in enumerate(("d0", "z0", "phi", "theta", "qop"))}
        of["eta"] = of["theta"] / sine**2
        of["qpt"] = of["qop"] / sine**2 + slope**2 * of["theta"] + 2 * slope / sine * covariance[:, 3, 4]
        return complete(values | {"eta": np.arctanh(cosine)}), {name: np.sqrt(own) for name, own in of.items()}
