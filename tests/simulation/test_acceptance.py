"""Numbers that the generated samples must reproduce: those of the prototype and of the full simulation it imitates."""

import fcntl
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from hitpool.files import ordered_map
from hitpool.simulation import HIT_FEATURES, Events, Settings
from hitpool.simulation.generate import generate_batch
from hitpool.simulation.geometry import MDT, MM, RPC, STGC, TGC


@dataclass
class Sample:
    """Hits with the number of their track in the whole sample, -1 for background."""

    events: Events
    track: np.ndarray
    code: np.ndarray
    technology: np.ndarray

    @property
    def eta(self):
        return np.abs(self.events.tracks[:, 1])

    @property
    def hits_per_track(self):
        return np.bincount(self.track[self.track >= 0], minlength=self.eta.size)

    def passing(self, code=None, without=()):
        """Tracks with at least 3 stations of at least 3 hits each."""
        code = self.code if code is None else code
        use = (self.track >= 0) & ~np.isin(self.code, without)
        counts = np.zeros((self.eta.size, 64), dtype=int)
        np.add.at(counts, (self.track[use], code[use]), 1)
        return np.sum(counts >= 3, axis=1) >= 3


def batch(item):
    number, preset = item
    return generate_batch((number, 1000), seed=1, split=0, settings=Settings(preset=preset))


def generated_once(shared, preset, events):
    """The events; the first test process that asks generates them, the others wait and read them."""
    path = shared / f"acceptance_{preset}.npz"
    with open(shared / f"acceptance_{preset}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            items = [(i, preset) for i in range(events // 1000)]
            np.savez(path, **vars(Events.concatenate(list(ordered_map(batch, items, 2)))))
    with np.load(path) as arrays:
        return Events(**arrays)


def sample(tmp_path_factory, worker_id, preset, events):
    base = tmp_path_factory.getbasetemp()
    data = generated_once(base if worker_id == "master" else base.parent, preset, events)
    column = {n.removeprefix("spacePoint_"): data.hits[:, i].astype(int) for i, n in enumerate(HIT_FEATURES)}
    event = np.repeat(np.arange(data.num_hits.size), data.num_hits)
    first = np.cumsum(data.num_tracks) - data.num_tracks
    link = column["truthLink"]
    return Sample(data, np.where(link >= 0, first[event] + link, -1), column["stationIndex"], column["technology"])


@pytest.fixture(scope="module")
def imitation(tmp_path_factory, worker_id):
    return sample(tmp_path_factory, worker_id, "sample", 20_000)


@pytest.fixture(scope="module")
def full(tmp_path_factory, worker_id):
    return sample(tmp_path_factory, worker_id, "full", 10_000)


def test_hits_per_track(imitation):
    number = imitation.hits_per_track
    assert 23 <= number.mean() <= 26
    assert number.std() == pytest.approx(8.0, rel=0.1)
    np.testing.assert_allclose(np.percentile(number, [5, 95]), [16, 43], rtol=0.1)
    assert number.max() < 90
    assert number.min() >= 3


def test_shares_of_true_hits(imitation):
    technology = imitation.technology[imitation.track >= 0]
    for code, share in ((MDT, 0.70), (RPC, 0.13), (TGC, 0.165)):
        assert np.mean(technology == code) == pytest.approx(share, abs=0.03)
    assert 0.0 < np.mean(np.isin(technology, (STGC, MM))) < 0.007


def test_hits_of_one_track_in_barrel_and_endcap(imitation):
    number = imitation.hits_per_track
    assert 16 <= np.median(number[(imitation.eta > 1.4) & (imitation.eta < 2.6)]) <= 20
    assert 22 <= np.median(number[(imitation.eta > 0.1) & (imitation.eta < 0.8)]) <= 28


def test_hits_per_track_with_the_inner_wheel(full):
    assert full.hits_per_track.mean() == pytest.approx(27.5, rel=0.1)
    assert full.hits_per_track.std() == pytest.approx(7.7, rel=0.1)


def test_three_stations_with_three_hits(imitation):
    assert imitation.passing().mean() == pytest.approx(0.90, rel=0.1)
    assert imitation.passing().mean() == pytest.approx(0.89, abs=0.02)


def test_station_codes_collapse_as_in_the_original(imitation):
    """The original's integer of 0.1 * code merges all barrel stations: only endcap tracks pass its selection."""
    passing = imitation.passing((0.1 * imitation.code).astype(int))
    assert passing.mean() == pytest.approx(0.50, rel=0.1)
    assert imitation.eta[passing].mean() == pytest.approx(1.8, rel=0.05)
    assert imitation.passing(without=(0,)).mean() == pytest.approx(0.68, rel=0.1)


def test_background(imitation, full):
    count = imitation.events.num_hits.size
    assert np.sum(full.track < 0) / full.events.num_hits.size == pytest.approx(20, rel=0.1)
    assert np.sum(imitation.track < 0) / count == pytest.approx(20, rel=0.1)
    assert imitation.events.num_hits.max() <= 600
    assert imitation.events.num_hits.mean() == pytest.approx(58.5, rel=0.1)


def test_tracks(imitation):
    tracks = imitation.events.tracks
    assert tracks[:, 0].mean() == pytest.approx(35.8, rel=0.05)
    assert tracks[:, 0].std() == pytest.approx(26.0, rel=0.05)
    assert imitation.eta.mean() == pytest.approx(1.196, rel=0.05)
    assert imitation.eta.std() == pytest.approx(0.738, rel=0.05)
    assert np.mean(imitation.eta < 0.1) == pytest.approx(0.033, abs=0.008)
    assert np.mean(imitation.events.num_tracks == 2) == pytest.approx(0.5, abs=0.02)


def test_azimuth_is_flat(imitation):
    phi = imitation.events.tracks[:, 2]
    assert stats.kstest(phi, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_values_are_usable(imitation, full):
    for data in (imitation.events, full.events):
        assert np.isfinite(data.hits).all()
        assert np.abs(data.hits[:, HIT_FEATURES.index("spacePoint_driftR")]).max() <= np.float32(14.6)
        link = data.hits[:, HIT_FEATURES.index("spacePoint_truthLink")]
        assert np.all(link < np.repeat(data.num_tracks, data.num_hits))
