"""Fits from the columns of a data set against the fits that made its columns kalman_*."""

from pathlib import Path

import numpy as np
import pytest

from hitpool.acts import acts
from hitpool.acts.columns import KALMAN_FEATURES, MEASURED, TRUTH_LINK
from hitpool.acts.start import covariance
from hitpool.files import hits_of_events, open_event_file, read_index

pytest.importorskip("acts", reason="ACTS is not installed (hitpool[acts])")

SIGMAS = {"qpt": 6, "eta": 7, "phi": 8, "d0": 9, "z0": 10}  # columns of the errors


class Truth:
    """Hits of each event [M, columns], and by event what a fit of the true hits gets and gave."""

    def __init__(self, folder: Path, events: int) -> None:
        index = read_index(folder)
        read = list(hits_of_events(index, np.arange(events), [*MEASURED, TRUTH_LINK]))
        self.hits = [hits[:, :-1] for hits in read]
        with open_event_file(index.path(0), index.hit_columns, index.track_columns) as file:
            tracks = [file.tracks[i, : file.num_tracks[i]].astype(np.float64) for i in range(events)]
        self.lists = [
            [np.flatnonzero(hits[:, -1] == row) for row in range(len(own))]
            for hits, own in zip(read, tracks, strict=True)
        ]
        self.fits = [own[:, [index.track_columns.index(name) for name in KALMAN_FEATURES]] for own in tracks]
        names = ("d0", "z0", "phi", "eta", "pt", "q")
        self.starts = []
        for own in tracks:
            d0, z0, phi, eta, pt, q = (own[:, index.track_columns.index(name)] for name in names)
            self.starts.append(np.stack([d0, z0, phi, 2 * np.arctan(np.exp(-eta)), q / pt / np.cosh(eta)], axis=-1))


def differences(fits: np.ndarray, expected: np.ndarray) -> dict[str, np.ndarray]:
    """Differences of parameters in units of their errors."""
    first, second = ({"qpt": f[:, 3] / f[:, 0], "eta": f[:, 1], "phi": f[:, 2], "d0": f[:, 4], "z0": f[:, 5]}
                     for f in (fits, expected))  # fmt: skip
    return {name: np.abs(first[name] - second[name]) / expected[:, column] for name, column in SIGMAS.items()}


@pytest.fixture(scope="module")
def muons(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("muons") / "set"
    acts(folder, 200, seed=11, workers=1)
    return Truth(folder, 200)


@pytest.mark.parametrize("profile", ["muons", "busy"])
def test_true_hits_give_what_the_filter_gave(muons: Truth, tmp_path: Path, profile: str) -> None:
    from hitpool.acts.refit import Candidates, refit

    truth = muons
    if profile == "busy":
        acts(tmp_path / "set", 20, seed=12, workers=1, profile="busy")
        truth = Truth(tmp_path / "set", 20)
    given = [Candidates(*own) for own in zip(truth.hits, truth.lists, truth.starts, strict=True)]
    fits, expected = np.concatenate(refit(given, profile == "muons")), np.concatenate(truth.fits)
    assert len(fits) > 300
    both = np.isfinite(expected).all(-1)
    np.testing.assert_array_equal(np.isfinite(fits).all(-1), both)
    assert both.mean() > 0.99
    for name, own in differences(fits[both], expected[both]).items():
        # The columns are float32; of busy events all are taken for pions.
        assert np.quantile(own, 0.99) < {"muons": 0.005, "busy": 0.03}[profile], name
        assert own.max() < 0.1, name
    # A muon is lighter than the pion that a busy event takes it for: 1 % at 0.5 GeV.
    np.testing.assert_allclose(fits[both, 6:], expected[both, 6:], rtol=0.01 if profile == "muons" else 0.03)


def test_the_start_hardly_counts(muons: Truth) -> None:
    from hitpool.acts.refit import Candidates, refit

    rng = np.random.default_rng(3)
    moved = [start + rng.normal(size=start.shape) * [0.2, 0.2, 0.003, 0.003, 0] for start in muons.starts]
    for start in moved:
        start[:, 4] *= rng.normal(1, 0.05, len(start))
    fits = np.concatenate(refit([Candidates(*own) for own in zip(muons.hits, muons.lists, moved, strict=True)], True))
    expected = np.concatenate(muons.fits)
    for name, own in differences(fits, expected).items():
        assert np.median(own) < 0.03, name
        assert np.quantile(own, 0.99) < 0.3, name


def test_a_fit_that_fails_leaves_the_others_in_their_places(muons: Truth) -> None:
    from hitpool.acts.refit import Candidates, refit

    hits, lists, start = muons.hits[:30], muons.lists[:30], muons.starts[:30]
    alone = refit([Candidates(*own) for own in zip(hits, lists, start, strict=True)], True)
    given = []
    for own_hits, own_lists, own_start in zip(hits, lists, start, strict=True):
        back = own_start[:1].copy()  # away from all of its hits
        back[:, 2] += np.pi
        back[:, 3] = np.pi - back[:, 3]
        given.append(Candidates(own_hits, [own_lists[0], *own_lists], np.concatenate([back, own_start])))
    for first, own in zip(alone, refit(given, True), strict=True):
        assert np.isnan(own[0]).all()
        np.testing.assert_array_equal(own[1:], first)  # its first hits are those of the track that failed


def test_events_may_be_empty(muons: Truth) -> None:
    from hitpool.acts.refit import Candidates, refit

    nothing = Candidates(np.empty((0, len(MEASURED)), np.float32), [], np.empty((0, 5)))
    without = Candidates(muons.hits[0], [], np.empty((0, 5)))
    whole = Candidates(muons.hits[1], muons.lists[1], muons.starts[1])
    fits = refit([nothing, without, whole], True)
    assert [len(own) for own in fits] == [0, 0, len(muons.lists[1])]
    assert np.isfinite(fits[2]).all()


def test_measurements_are_the_points_of_the_columns(muons: Truth) -> None:
    from hitpool.acts.detector import generic_detector
    from hitpool.acts.measured import measured

    detector, hits = generic_detector(), np.concatenate(muons.hits)
    found = measured(detector, hits)
    modules = [detector.module(identifier) for identifier in found.identifiers]
    points = np.array([m.origin + local @ m.axes for m, local in zip(modules, found.local, strict=True)])
    np.testing.assert_allclose(points, hits[:, :3], atol=1e-3)
    np.testing.assert_array_equal([module[:3] for module in modules], hits[:, 3:6])
    np.testing.assert_array_equal(found.variances, hits[:, 6:])


def test_hits_of_another_detector_are_refused(muons: Truth) -> None:
    from hitpool.acts.detector import generic_detector
    from hitpool.acts.measured import measured

    hits = muons.hits[0].copy()
    hits[1, 5] += 1  # the next module
    with pytest.raises(ValueError, match=r"^hit 1 is .* mm away from the plane of its module .* in the generic"):
        measured(generic_detector(), hits)
    hits[1, 3:6] = 3, 2, 1
    with pytest.raises(ValueError, match=r"^the generic detector has no module .* = \(3, 2, 1\)$"):
        measured(generic_detector(), hits)


def test_the_row_of_a_hit_is_the_index_of_its_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ACTS itself writes the measurements of the chain that makes a data set."""
    import acts as wheel

    from hitpool.acts import chain
    from hitpool.acts.detector import generic_detector
    from hitpool.acts.measured import measured

    add = chain.addKalmanTracks

    def also_write(sequencer: wheel.examples.Sequencer, *arguments: object) -> None:
        writer = wheel.examples.CsvMeasurementWriter(
            level=wheel.logging.WARNING,
            inputMeasurements="measurements",
            inputMeasurementSimHitsMap="measurement_simhits_map",
            outputDir=str(tmp_path),
        )
        sequencer.addWriter(writer)
        add(sequencer, *arguments)

    monkeypatch.setattr(chain, "addKalmanTracks", also_write)
    events = chain.run((0, 4), 5, 0, "busy").events
    stops = np.cumsum(events.num_hits)
    for event, (stop, size) in enumerate(zip(stops, events.num_hits, strict=True)):
        text = (tmp_path / f"event{event:09d}-measurements.csv").read_text(encoding="latin1")
        lines = [line.split(",") for line in text.splitlines()]
        written = np.array([[float(line[i]) for i in (0, 3, 4)] for line in lines[1:]])
        assert lines[0][:5] == ["measurement_id", "geometry_id", "local_key", "local0", "local1"]
        found = measured(generic_detector(), events.hits[stop - size : stop, [0, 1, 2, 3, 4, 5, 12, 13]])
        np.testing.assert_array_equal(written[:, 0], np.arange(size))
        np.testing.assert_allclose(written[:, 1:], found.local, atol=1e-3)
        assert [int(line[1]) for line in lines[1:]] == [identifier.value for identifier in found.identifiers]


def test_the_errors_of_the_start_are_wide() -> None:
    parameters = np.array([[0.0, 20.0, 0.5, np.pi / 2, 0.1], [0.0, 20.0, 0.5, np.pi / 4, -0.1]])
    own = covariance(parameters)
    np.testing.assert_allclose(own[:, :2, :2], np.broadcast_to(np.eye(2), (2, 2, 2)))
    np.testing.assert_allclose(np.sqrt(own[:, 2, 2]), np.radians(1))
    np.testing.assert_allclose(own[0, 4, 4], 0.1**2 + 0.01**2)
    np.testing.assert_allclose(own[1, 4, 4], 0.1**2 / 2 + 0.01**2 + (0.1 * np.radians(1)) ** 2)
