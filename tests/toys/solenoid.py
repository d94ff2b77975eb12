"""An invented tracker in a solenoid: cylindrical layers, lengths in cm, momenta in GeV, hits that name their particle.

    python tests/toys/solenoid.py barrel.root --events 2000

Tree `tracker`: hit_x, hit_y, hit_z [cm], hit_layer, hit_barcode (0: noise); mc_barcode, mc_pt [GeV], mc_eta, mc_phi,
mc_charge; and the fit of the true hits, which is the limit of the detector: fit_pt [GeV], fit_eta, fit_phi, fit_q and
the errors fit_sigma_qpt [1/GeV], fit_sigma_eta, fit_sigma_phi. Tracks are helices with multiple scattering in each
layer, without energy loss.
"""

import numpy as np
from ntuple import Sample, fit_columns, main
from truth_fit import fit

FIELD = 1.0  # T along z
RADII = np.array([10.0, 16.0, 22.0, 28.0, 36.0, 44.0, 52.0, 60.0])  # cm
RESOLUTION = np.array([[0.002, 0.004]] * 3 + [[0.005, 0.03]] * 5)  # cm, along the layer across and along the beam
MATERIAL = 0.005  # radiation lengths of a layer
EFFICIENCY = 0.98  # of a layer
BEAM_SPOT = 0.1, 1.0  # cm, spread of d0 and z0
MOMENTA, LARGEST_ETA = (0.5, 20.0), 1.2  # GeV; log(pT) is flat
SHARES = 0.4, 0.3, 0.2, 0.1  # of events with 1, 2, 3 and 4 tracks
NOISE_HITS = 5  # their mean


def simulate(events: int, random: np.random.Generator) -> Sample:
    """Events of 1 to 4 tracks and noise."""
    num_tracks = random.choice(np.arange(1, len(SHARES) + 1), events, p=SHARES)
    event = np.repeat(np.arange(events), num_tracks)
    count = len(event)
    pt = np.exp(random.uniform(*np.log(MOMENTA), count))
    eta, phi = random.uniform(-LARGEST_ETA, LARGEST_ETA, count), random.uniform(-np.pi, np.pi, count)
    charge = random.choice([-1, 1], count)
    parameters = np.stack([charge / pt, eta, phi, *random.normal(0, BEAM_SPOT, (count, 2)).T], axis=1)

    scattering = 0.0136 / (pt * np.cosh(eta)) * np.sqrt(MATERIAL * np.cosh(eta))  # rad in a plane
    kinks = np.concatenate([np.cosh(eta) * scattering, scattering]).reshape(2, count).T  # of phi and theta
    kinks = np.repeat(kinks, len(RADII), axis=1)  # [T, 2 L]
    points = propagate(parameters, kinks * random.normal(size=kinks.shape))
    across = np.stack([-points[..., 1], points[..., 0], np.zeros(points.shape[:2])], axis=-1) / RADII[:, None]
    axes = np.stack([across, np.broadcast_to([0.0, 0.0, 1.0], across.shape)], axis=2)  # [T, L, 2, 3]
    shift = RESOLUTION * random.normal(size=(*points.shape[:2], 2))
    measured = points + (shift[..., None] * axes).sum(2)
    seen = random.random(points.shape[:2]) < EFFICIENCY
    sigma = np.where(seen[..., None], RESOLUTION, np.inf)
    unknown = np.full((count, 3), np.inf)
    prior = np.concatenate([unknown, np.broadcast_to(BEAM_SPOT, (count, 2)), kinks], axis=1)

    barcode = 10001 + np.arange(count) - np.searchsorted(event, event)
    noise_event = np.repeat(np.arange(events), random.poisson(NOISE_HITS, events))
    noise_layer = random.integers(0, len(RADII), len(noise_event))
    azimuth, r = random.uniform(-np.pi, np.pi, len(noise_event)), RADII[noise_layer]
    z = r * np.sinh(random.uniform(-LARGEST_ETA, LARGEST_ETA, len(noise_event)))
    noise = np.stack([r * np.cos(azimuth), r * np.sin(azimuth), z], axis=1)
    track, layer = np.nonzero(seen)
    x, y, z = np.concatenate([measured[seen], noise]).T
    return Sample(
        {
            **{"x": x, "y": y, "z": z, "layer": np.concatenate([layer, noise_layer])},
            "barcode": np.concatenate([barcode[track], np.zeros_like(noise_event)]),
        },
        np.concatenate([event[track], noise_event]),
        {"barcode": barcode, "pt": pt, "eta": eta, "phi": phi, "charge": charge},
        fit_columns(*fit(propagate, parameters, prior, measured, axes, sigma)),
        num_tracks,
    )


def propagate(parameters: np.ndarray, kinks: np.ndarray) -> np.ndarray:
    """Points of tracks on the layers.

    Args:
        parameters: q / pT, eta, phi, d0, z0 of each track [T, 5].
        kinks: Changes of phi in each layer, then of theta [T, 2 L].

    Returns:
        In cm, [T, L, 3].
    """
    qpt, eta, phi, d0, z = parameters.T
    qp, theta = qpt / np.cosh(eta), 2 * np.arctan(np.exp(-eta))
    x, y = -d0 * np.sin(phi), d0 * np.cos(phi)
    turns, tilts = np.split(kinks, 2, axis=1)
    points = []
    for radius, turn, tilt in zip(RADII, turns.T, tilts.T, strict=True):
        curvature = -0.00299792458 * FIELD * qp / np.sin(theta)  # 1/cm
        length = radius - np.hypot(x, y)
        for _ in range(8):  # Newton: x^2 + y^2 = radius^2
            end = phi + curvature * length
            half = np.sinc(curvature * length / (2 * np.pi)) * length  # chord
            across = x + half * np.cos((phi + end) / 2), y + half * np.sin((phi + end) / 2)
            slope = 2 * (across[0] * np.cos(end) + across[1] * np.sin(end))
            length = length - (across[0] ** 2 + across[1] ** 2 - radius**2) / slope
        x, y, z = *across, z + length / np.tan(theta)
        points.append(np.stack([x, y, z], axis=-1))
        phi, theta = end + turn, theta + tilt
    return np.stack(points, axis=1)


if __name__ == "__main__":
    main(simulate, __doc__.splitlines()[0], "tracker", "hit", "mc")
