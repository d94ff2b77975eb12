"""Tracks with scattering through the modules of a barrel and of disks, followed in steps from module to module."""

import math
from types import SimpleNamespace

import numpy as np
import torch

FIELD = 2.0
BEND = 0.299792458 * FIELD  # 1/m for q / pT = 1/GeV
RADIATION_LENGTHS = 0.015
BARREL = (0.032, 0.072, 0.116, 0.172, 0.26, 0.36, 0.5, 0.66, 0.82, 1.02)  # m, radii of the modules
DISKS = (0.6, 0.7, 0.82, 0.96, 1.22, 1.5, 1.8, 2.15, 2.55, 2.95)  # m, places of the modules along the beam
ERRORS = ([15e-6] * 4 + [23e-6] * 4 + [35e-6] * 2, [15e-6] * 4 + [350e-6] * 4 + [3.1e-3] * 2)


def scattering(momentum, incidence):
    """Plane angle of scattering in a layer (Highland), muons."""
    thickness = RADIATION_LENGTHS / incidence
    beta = momentum / np.hypot(momentum, 0.1056584)
    return 0.0136 / (beta * momentum) * np.sqrt(thickness) * (1 + 0.038 * np.log(thickness))


def follow(tracks, origins, axes, kinks):
    """Crossings of T tracks with their modules one after the other, and the spread of the kinks there.

    The helix between two modules is written about its centre; a kink turns the momentum vector.

    Args:
        tracks: d0, z0, phi, eta, q / pT, [T, 5].
        origins: Of the modules, [T, K, 3].
        axes: Of the modules, [T, K, 2, 3].
        kinks: Angles across the plane of track and beam line and within it, [T, K, 2].

    Returns:
        [T, K, 2] in the coordinates of the modules, and [T, K] in rad.
    """
    d0, z0, phi, eta, qpt = tracks.T
    place = np.stack([-d0 * np.sin(phi), d0 * np.cos(phi), z0], axis=-1)
    size, polar, azimuth = np.cosh(eta) / abs(qpt), 2 * np.arctan(np.exp(-eta)), phi
    found, spread = [], []
    for k in range(origins.shape[1]):
        normal = np.cross(axes[:, k, 0], axes[:, k, 1])
        curvature, slope = -np.sign(qpt) * BEND / (size * np.sin(polar)), 1 / np.tan(polar)
        centre = place[:, :2] + np.stack([-np.sin(azimuth), np.cos(azimuth)], axis=-1) / curvature[:, None]
        path = np.zeros_like(phi)
        for _ in range(12):
            angle = azimuth + curvature * path
            outward = np.stack([np.sin(angle), -np.cos(angle)], axis=-1) / curvature[:, None]
            point = np.concatenate([centre + outward, (place[:, 2] + path * slope)[:, None]], axis=-1)
            tangent = np.stack([np.cos(angle), np.sin(angle), slope], axis=-1)
            path = path - ((point - origins[:, k]) * normal).sum(-1) / (tangent * normal).sum(-1)
        found.append(np.einsum("tax,tx->ta", axes[:, k], point - origins[:, k]))
        spread.append(scattering(size, abs((tangent * normal).sum(-1)) * np.sin(polar)))
        azimuth, polar, place = angle + kinks[:, k, 0] / np.sin(polar), polar + kinks[:, k, 1], point
    return np.stack(found, axis=1), np.stack(spread, axis=1)


def modules_around(tracks, disks):
    """Modules around tracks without scattering: barrel planes, or disks crossed beside their middle, [T, 10, ...]."""
    _, z0, phi, eta, qpt = tracks.T[..., None]  # [T, 1] each
    path = np.where(disks[:, None], np.array(DISKS) / abs(np.sinh(eta)), BARREL)  # [T, 10]
    angle, zero = phi - BEND * qpt * path / 2, np.zeros_like(path)
    radial, around = (np.stack([*xy, zero], axis=-1) for xy in _directions(angle))
    beam = np.broadcast_to([0.0, 0.0, 1.0], radial.shape)
    turn = np.where(disks[:, None], 0.15 * (-1.0) ** np.arange(10), 0.1)[..., None]
    first = np.cos(turn) * around - np.sin(turn) * radial
    second = np.where(disks[:, None, None], np.sin(turn) * around + np.cos(turn) * radial, beam)
    return path[..., None] * radial + (z0 + path * np.sinh(eta))[..., None] * beam, np.stack([first, second], axis=-2)


def _directions(angle):
    return (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))


def simulate(count, seed=0, noise=1.0):
    """`hits` [count, 10, 11] of one track each, and `tracks` [count, 5]; every other one in disks."""
    rng = np.random.default_rng(seed)
    disks = np.arange(count) % 2 == 1
    eta = np.where(disks, rng.uniform(1.6, 2.4, count), rng.uniform(0, 1, count)) * rng.choice([-1, 1], count)
    qpt = rng.choice([-1, 1], count) * np.exp(-rng.uniform(0, np.log(100), count))
    d0, z0, phi = rng.normal(0, 1e-4, count), rng.normal(0, 0.05, count), rng.uniform(-math.pi, math.pi, count)
    tracks = np.stack([d0, z0, phi, eta, qpt], axis=1)
    origins, axes = modules_around(tracks, disks)
    _, spread = follow(tracks, origins, axes, np.zeros((count, 10, 2)))
    local, _ = follow(tracks, origins, axes, noise * spread[..., None] * rng.normal(size=(count, 10, 2)))
    errors = np.broadcast_to(np.array(ERRORS).T, local.shape)
    local = local + noise * errors * rng.normal(size=local.shape)
    points = origins + np.einsum("tka,tkax->tkx", local, axes)
    hits = np.concatenate([points, axes.reshape(count, 10, 6), errors**2], axis=-1)
    return SimpleNamespace(hits=torch.from_numpy(hits), tracks=tracks)
