"""An invented forward spectrometer: planes along z around a dipole, lengths in mm, momenta in MeV, links by number.

    python tests/toys/forward.py forward.root --events 2000

Tree `Spectrometer`: Digi_posX, Digi_posY, Digi_posZ [mm], Digi_station, Digi_track (row of the track, -1: noise);
Gen_pT [MeV], Gen_eta, Gen_phi, Gen_q, Gen_tx, Gen_ty; and the fit of the true hits, which is the limit of the detector:
fit_pt [GeV], fit_eta, fit_phi, fit_q and the errors fit_sigma_qpt [1/GeV], fit_sigma_eta, fit_sigma_phi. The dipole
changes the momentum along x in its middle; there is multiple scattering in each plane.
"""

import numpy as np
from ntuple import Sample, fit_columns, main
from truth_fit import fit

PLANES = np.array([1000.0, 1300.0, 1600.0, 1900.0, 3100.0, 3500.0, 3900.0, 4300.0])  # mm
DIPOLE = 2500.0  # mm
KICK = 0.3  # GeV: 0.2998 times 1 Tm
RESOLUTION = np.array([0.1, 0.3])  # mm, along x and y
MATERIAL = 0.003  # radiation lengths of a plane
EFFICIENCY = 0.98  # of a plane
TARGET = 0.5  # mm, spread of the origins in x and y
MOMENTA, ETAS = (3.0, 40.0), (2.3, 4.2)  # GeV; log(p) is flat
SHARES = 0.4, 0.3, 0.2, 0.1  # of events with 1, 2, 3 and 4 tracks
NOISE_HITS = 5  # their mean


def simulate(events: int, random: np.random.Generator) -> Sample:
    """Events of 1 to 4 tracks and noise."""
    num_tracks = random.choice(np.arange(1, len(SHARES) + 1), events, p=SHARES)
    event = np.repeat(np.arange(events), num_tracks)
    count = len(event)
    p = np.exp(random.uniform(*np.log(MOMENTA), count))
    eta, phi = random.uniform(*ETAS, count), random.uniform(-np.pi, np.pi, count)
    charge, pt = random.choice([-1, 1], count), p / np.cosh(eta)
    parameters = np.stack([charge / pt, eta, phi, *random.normal(0, TARGET, (2, count))], axis=1)

    scattering = 0.0136 / p * np.sqrt(MATERIAL)  # rad in a plane
    kinks = np.repeat(scattering[:, None], 2 * len(PLANES), axis=1)  # of dx/dz and dy/dz
    points = propagate(parameters, kinks * random.normal(size=kinks.shape))
    axes = np.broadcast_to(np.eye(3)[:2], (*points.shape[:2], 2, 3))
    measured = points + (RESOLUTION * random.normal(size=(*points.shape[:2], 2))) @ np.eye(3)[:2]
    seen = random.random(points.shape[:2]) < EFFICIENCY
    sigma = np.where(seen[..., None], RESOLUTION, np.inf)
    prior = np.concatenate([np.full((count, 3), np.inf), np.full((count, 2), TARGET), kinks], axis=1)

    row = np.arange(count) - np.searchsorted(event, event)
    noise_event = np.repeat(np.arange(events), random.poisson(NOISE_HITS, events))
    noise_plane = random.integers(0, len(PLANES), len(noise_event))
    slopes = 0.2 * random.uniform(-1, 1, (2, len(noise_event)))
    noise = np.stack([*(slopes * PLANES[noise_plane]), PLANES[noise_plane]], axis=1)
    track, plane = np.nonzero(seen)
    x, y, z = np.concatenate([measured[seen], noise]).T
    return Sample(
        {
            **{"posX": x, "posY": y, "posZ": z, "station": np.concatenate([plane, noise_plane])},
            "track": np.concatenate([row[track], np.full_like(noise_event, -1)]),
        },
        np.concatenate([event[track], noise_event]),
        {
            **{"pT": 1000 * pt, "eta": eta, "phi": phi, "q": charge},
            **{"tx": np.cos(phi) / np.sinh(eta), "ty": np.sin(phi) / np.sinh(eta)},
        },
        fit_columns(*fit(propagate, parameters, prior, measured, axes, sigma)),
        num_tracks,
    )


def propagate(parameters: np.ndarray, kinks: np.ndarray) -> np.ndarray:
    """Points of tracks on the planes.

    Args:
        parameters: q / pT, eta, phi, x and y at z = 0 of each track [T, 5].
        kinks: Changes of dx/dz in each plane, then of dy/dz [T, 2 L].

    Returns:
        In mm, [T, L, 3].
    """
    qpt, eta, phi, x, y = parameters.T
    tx, ty = np.cos(phi) / np.sinh(eta), np.sin(phi) / np.sinh(eta)
    qp = qpt / np.cosh(eta)  # 1/GeV
    turns = zip(*(part.T for part in np.split(kinks, 2, axis=1)), strict=True)
    z, points = 0.0, []
    for plane, (turn_x, turn_y) in zip(PLANES, turns, strict=True):
        if z < DIPOLE < plane:
            x, y, z = x + (DIPOLE - z) * tx, y + (DIPOLE - z) * ty, DIPOLE
            norm = np.sqrt(1 + tx**2 + ty**2)
            along_x, along_y = tx / norm + KICK * qp, ty / norm  # the momentum's length stays
            along_z = np.sqrt(1 - along_x**2 - along_y**2)
            tx, ty = along_x / along_z, along_y / along_z
        x, y, z = x + (plane - z) * tx, y + (plane - z) * ty, plane
        points.append(np.stack([x, y, np.full_like(x, z)], axis=-1))
        tx, ty = tx + turn_x, ty + turn_y
    return np.stack(points, axis=1)


if __name__ == "__main__":
    main(simulate, __doc__.splitlines()[0], "Spectrometer", "Digi", "Gen")
