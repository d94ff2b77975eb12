import numpy as np
import pytest
from scipy import stats

from hitpool.simulation import Settings, sample_muons
from hitpool.simulation.truth import sample_eta, wrap

EVENTS = 40_000


def muons(seed=3, events=EVENTS, **settings):
    return sample_muons(np.random.default_rng(seed), events, Settings(**settings))


@pytest.fixture(scope="module")
def mixture():
    return muons()


def test_momentum_mixture_has_the_moments_of_the_full_simulation(mixture):
    assert mixture.pt.min() >= 5.0
    assert mixture.pt.max() <= 200.0
    assert mixture.pt.mean() == pytest.approx(35.5, rel=0.02)
    assert mixture.pt.std() == pytest.approx(26.4, rel=0.03)
    assert np.median(mixture.pt) == pytest.approx(33.0, rel=0.03)


@pytest.mark.parametrize(
    ("spectrum", "cdf"),
    [
        ("falling", lambda pt: (1 / 5 - 1 / pt) / (1 / 5 - 1 / 200)),
        ("loguniform", lambda pt: np.log(pt / 5) / np.log(200 / 5)),
    ],
)
def test_other_spectra_follow_their_distribution(spectrum, cdf):
    assert stats.kstest(muons(spectrum=spectrum).pt, cdf).pvalue > 1e-3


def test_fixed_spectrum_has_one_value():
    assert np.all(muons(events=100, spectrum="fixed", pt=1000.0).pt == 1000.0)


def test_pseudorapidity_follows_its_density(mixture):
    eta = np.abs(mixture.eta)
    assert eta.max() <= 2.7
    assert eta.mean() == pytest.approx(1.22, abs=0.02)
    assert eta.std() == pytest.approx(0.75, abs=0.02)
    assert abs(np.mean(np.sign(mixture.eta))) < 0.02

    single = np.abs(sample_eta(np.random.default_rng(1), 200_000))
    outside = single[single >= 0.08]

    def integral(x):  # of 1 - 0.51 x / 2.7
        return x - 0.51 * x * x / 5.4

    cdf = lambda x: (integral(x) - integral(0.08)) / (integral(2.7) - integral(0.08))  # noqa: E731
    assert stats.kstest(outside, cdf).pvalue > 1e-3
    expected = 0.5 * integral(0.08) / (integral(2.7) - integral(0.08)) * outside.size
    assert np.sum(single < 0.08) == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_azimuth_is_flat(mixture):
    assert np.all((mixture.phi > -np.pi) & (mixture.phi <= np.pi))
    assert stats.kstest(mixture.phi, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_half_of_the_events_have_a_pair_of_opposite_charge_from_one_vertex(mixture):
    counts = np.bincount(mixture.event, minlength=EVENTS)
    assert set(counts) == {1, 2}
    assert np.mean(counts == 2) == pytest.approx(0.5, abs=0.01)
    second = np.flatnonzero(mixture.event[1:] == mixture.event[:-1]) + 1
    assert np.array_equal(mixture.charge[second], -mixture.charge[second - 1])
    assert np.array_equal(mixture.z0[second], mixture.z0[second - 1])
    assert abs(mixture.charge.mean()) < 0.02
    assert mixture.z0.std() == pytest.approx(0.045, rel=0.02)


def test_pairs_are_close_back_to_back_or_independent(mixture):
    second = np.flatnonzero(mixture.event[1:] == mixture.event[:-1]) + 1
    delta_phi = wrap(mixture.phi[second] - mixture.phi[second - 1])
    delta_eta = mixture.eta[second] - mixture.eta[second - 1]
    flat = 0.32  # share of the independent pairs
    back = np.mean(np.abs(wrap(delta_phi - np.pi)) < 1.5)
    assert back == pytest.approx(0.48 * 0.9973 + flat * 1.5 / np.pi, abs=0.015)
    close = np.mean((np.abs(delta_phi) < 0.75) & (np.abs(delta_eta) < 0.75))
    assert 0.20 < close < 0.20 + flat * 0.75 / np.pi


@pytest.mark.parametrize("turns", [-3, 0, 2])
def test_wrap_gives_the_same_direction_in_its_range(turns):
    angle = np.linspace(-3.1, 3.1, 50)
    np.testing.assert_allclose(wrap(angle + 2 * np.pi * turns), angle, atol=1e-12)
    assert wrap(np.array([-np.pi]))[0] == np.pi
