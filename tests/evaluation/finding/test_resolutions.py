import numpy as np
import pytest

from hitpool.evaluation.comparison import compare
from hitpool.evaluation.finding.found import Found
from hitpool.evaluation.finding.particles import Particles
from hitpool.evaluation.finding.reference_tracks import known
from hitpool.evaluation.finding.resolutions import of_each, tracks_of
from hitpool.residuals import periodic_residual, sigma68


def found_of(particles: Particles, chosen: np.ndarray, width: float, seed: int) -> Found:
    """One track of each chosen particle in any order, a worse duplicate of some, a fake in front."""
    random = np.random.default_rng(seed)
    own = random.permutation(np.append(chosen, chosen[::7]))
    _, first = np.unique(own, return_index=True)
    duplicate = ~np.isin(np.arange(len(own)), first)
    spread = np.where(duplicate, 100.0, width)
    values = {
        name: np.append(0.0, particles.values[name][own] + spread * random.normal(size=len(own)))
        for name in ("eta", "phi", "z0")
    }
    errors = {"eta" if seed == 1 else "z0": np.full(len(own) + 1, width)}
    event = np.append(0, particles.event[own])
    sizes = np.full(len(event), 8)
    return Found(event, sizes, np.append(-1, own), sizes, np.append(False, duplicate), values, errors)


def test_residuals_are_of_the_best_tracks(busy) -> None:
    particles = busy(60)
    random = np.random.default_rng(1)
    one, two = (np.flatnonzero(random.random(len(particles)) < share) for share in (0.9, 0.6))
    found = {"model": found_of(particles, one, 0.1, 1), "ckf": found_of(particles, two, 0.02, 2)}
    tracks = tracks_of(particles, found)
    assert tracks.particle.sum() == len(particles)
    common = np.intersect1d(one, two)
    assert tracks.compared.sum() == len(common)

    def residuals(name: str, quantity: str, chosen: np.ndarray) -> np.ndarray:
        own = found[name]
        rows = [np.flatnonzero(own.best & (own.particle == i))[0] for i in chosen]
        residual = own.values[quantity][rows] - particles.values[quantity][chosen]
        return periodic_residual(residual, 0 * residual) if quantity == "phi" else residual

    both = {(row.quantity, row.measure): row.numbers for row in compare(tracks, "ckf")}
    rows = of_each(tracks)
    assert [row.quantity for row in rows] == sorted((row.quantity for row in rows), key=["eta", "phi", "z0"].index)
    each = {(row.quantity, row.measure): row.numbers for row in rows}
    for name, chosen in (("model", one), ("ckf", two)):
        for quantity in ("eta", "phi", "z0"):
            spread = both[quantity, "sigma68"][name].value
            assert spread == pytest.approx(sigma68(residuals(name, quantity, common)))
            assert each[quantity, "sigma68"][name].value == pytest.approx(sigma68(residuals(name, quantity, chosen)))
    assert each["eta", "pull"]["model"].value == pytest.approx(1, abs=0.1)
    assert each["z0", "pull"]["ckf"].value == pytest.approx(1, abs=0.1)
    assert both["z0", "to_reference"]["model"].value == pytest.approx(5, rel=0.15)
    assert tracks.resolution("z0").unit == "mm"


def test_parameters_that_are_not_known_leave_a_track_out(busy) -> None:
    particles = busy(3)
    found = found_of(particles, np.arange(10), 0.1, 1)
    found.values["z0"][np.flatnonzero(found.best)[0]] = np.nan
    tracks = tracks_of(particles, {"ckf": found})
    assert tracks.estimates["ckf"].valid.sum() == 9


def test_errors_of_derived_quantities_are_propagated() -> None:
    random = np.random.default_rng(6)
    parameters = np.array([0.1, -30.0, 2.0, 0.4, -0.7])
    jitter = random.normal(size=(5, 5)) * np.array([0.1, 0.2, 1e-3, 1e-3, 2e-3])[:, None]
    covariance = jitter @ jitter.T
    sample = random.multivariate_normal(parameters, covariance, 200_000)
    values, errors = known(parameters[None], covariance[None])
    eta, qpt = -np.log(np.tan(sample[:, 3] / 2)), sample[:, 4] / np.sin(sample[:, 3])
    expected = {"d0": sample[:, 0], "z0": sample[:, 1], "phi": sample[:, 2], "theta": sample[:, 3]}
    expected |= {"qop": sample[:, 4], "eta": eta, "qpt": qpt}
    for name, own in expected.items():
        assert values[name][0] == pytest.approx(own.mean(), rel=1e-3, abs=5 * own.std() / 400)
        assert errors[name][0] == pytest.approx(own.std(), rel=0.01)
    assert values["pt"][0] == pytest.approx(np.sin(0.4) / 0.7)
    assert values["q"][0] == -1
