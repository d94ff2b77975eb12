"""Tracks in the form of ACTS, against helices and against samples of their parameters."""

import numpy as np
import pytest

from hitpool.evaluation.beam_line import at_beam_line, check_known, covariance_at_beam_line, innermost_hits

TRACKS = 50
RADIUS = 1000 / (0.299792458 * 2)  # mm per GeV in 2 T


@pytest.fixture
def tracks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    pt, eta, phi = rng.uniform(0.5, 20, TRACKS), rng.uniform(-2.5, 2.5, TRACKS), rng.uniform(-3, 3, TRACKS)
    q, z0 = rng.choice([-1.0, 1.0], TRACKS), rng.normal(0, 50, TRACKS)
    return {"pt": pt, "eta": eta, "phi": phi, "q": q, "z0": z0}


def points(tracks: dict[str, np.ndarray], radius: float) -> np.ndarray:
    """Where the helices from the beam line are at a radius, [T, 3]."""
    bending = RADIUS * tracks["pt"] * tracks["q"]
    path = 2 * bending * np.arcsin(radius / (2 * bending))
    phi = tracks["phi"] - path / (2 * bending)
    return np.stack([radius * np.cos(phi), radius * np.sin(phi), tracks["z0"] + path * np.sinh(tracks["eta"])], axis=-1)


@pytest.mark.parametrize("form", [("pt", "q", "eta"), ("qpt", "eta"), ("qop", "theta")])
def test_parameters_are_those_of_the_helix(tracks: dict[str, np.ndarray], form: tuple[str, ...]) -> None:
    theta = 2 * np.arctan(np.exp(-tracks["eta"]))
    known = tracks | {
        "theta": theta,
        "qpt": tracks["q"] / tracks["pt"],
        "qop": tracks["q"] / tracks["pt"] * np.sin(theta),
    }
    given = {name: known[name] for name in (*form, "phi")}
    given["phi"] = given["phi"] + 2 * np.pi * np.arange(TRACKS)  # any multiple
    check_known(given)
    own = at_beam_line(given, points(tracks, 32.0))
    assert (own[:, 0] == 0).all()
    np.testing.assert_allclose(own[:, 1], tracks["z0"], atol=0.05)  # of the chord instead of the arc, at 0.5 GeV
    assert np.median(np.abs(own[:, 1] - tracks["z0"])) < 0.001
    np.testing.assert_allclose(
        own[:, 2:], np.stack([tracks["phi"], theta, known["qop"]], axis=-1), rtol=1e-9, atol=1e-9
    )
    given |= {"d0": np.full(TRACKS, 0.1), "z0": np.full(TRACKS, 7.0)}
    np.testing.assert_array_equal(at_beam_line(given, points(tracks, 32.0))[:, :2], [[0.1, 7.0]] * TRACKS)


@pytest.mark.parametrize("given", [["phi", "eta", "pt"], ["eta", "qpt"], ["phi", "qpt"], []])
def test_parameters_that_say_too_little_are_refused(given: list[str]) -> None:
    with pytest.raises(ValueError, match=f"got {', '.join(sorted(given)) or 'none'}$"):
        check_known(given)


def test_the_innermost_hit() -> None:
    hits = np.array([[3.0, 4.0, 0.0], [1.0, 0.0, 90.0], [0.0, 2.0, 1.0]])
    assigned = np.array([[True, False, True], [False, False, False], [True, True, True]])
    np.testing.assert_array_equal(innermost_hits(hits, assigned), [hits[2], [np.nan] * 3, hits[1]])
    assert np.isnan(innermost_hits(np.empty((0, 3)), np.empty((2, 0), bool))).all()


def test_errors_follow_those_of_the_model(tracks: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(9)
    one = {"qpt": 0.1, "eta": 1.2, "phi": 0.3}
    sigmas = {"qpt": 1e-3, "eta": 2e-3, "phi": 3e-3}
    correlations = {("qpt", "eta"): 0.5, ("qpt", "phi"): -0.6, ("eta", "phi"): 0.2}
    matrix = np.diag(np.square(list(sigmas.values())))
    names = list(sigmas)
    for (first, second), own in correlations.items():
        i, j = names.index(first), names.index(second)
        matrix[i, j] = matrix[j, i] = own * sigmas[first] * sigmas[second]
    draws = rng.multivariate_normal(list(one.values()), matrix, 400_000)
    sampled = at_beam_line(dict(zip(names, draws.T, strict=True)), np.zeros((len(draws), 3)))[:, 2:]
    parameters = at_beam_line({name: np.array([value]) for name, value in one.items()}, np.zeros((1, 3)))
    own = covariance_at_beam_line(
        parameters,
        {name: np.array([value]) for name, value in sigmas.items()},
        {pair: np.array([value]) for pair, value in correlations.items()},
    )[0]
    expected = np.cov(sampled.T)
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(own[2:, 2:] / np.outer(scale, scale), expected / np.outer(scale, scale), atol=0.01)
    np.testing.assert_array_equal(own[:2], [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]])  # mm^2, not stated by the model


def test_errors_of_the_parameters_themselves_are_taken_as_they_are() -> None:
    parameters = np.array([[0.1, 3.0, 0.2, 1.1, 0.3]])
    errors = {name: np.array([value]) for name, value in {"d0": 0.1, "z0": 0.2, "theta": 0.01, "qop": 0.02}.items()}
    own = covariance_at_beam_line(parameters, errors, {})[0]
    np.testing.assert_allclose(np.sqrt(np.diag(own)), [0.1, 0.2, np.radians(1), 0.01, 0.02])
    assert np.count_nonzero(own - np.diag(np.diag(own))) == 0
