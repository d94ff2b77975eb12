"""The files for the examples of ACTS, read by its own reader and beside what its own writers write."""

import csv
from pathlib import Path

import numpy as np
import pytest

from hitpool.acts.csv_tracks import STEM, ActsTracks, write_tracks

EVENTS = 3


def made_up(rng: np.random.Generator, tracks: int, hits: int) -> tuple[ActsTracks, np.ndarray]:
    mixing = rng.normal(size=(tracks, 5, 5))
    parameters = rng.uniform([-1, -100, -3, 0.2, -1], [1, 100, 3, 2.9, 1], (tracks, 5))
    lists = [rng.permutation(hits)[: rng.integers(3, 9)] for _ in range(tracks)]
    return ActsTracks(lists, parameters, mixing @ mixing.swapaxes(1, 2)), rng.normal(0, 100, (hits, 3))


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, list[tuple[ActsTracks, np.ndarray]]]:
    rng = np.random.default_rng(4)
    events = [made_up(rng, tracks, 40) for tracks in (12, 0, 60)]
    for event, (tracks, points) in enumerate(events):
        write_tracks(tmp_path, event, tracks, points)
    return tmp_path, events


def test_files_hold_the_tracks(written: tuple) -> None:
    folder, events = written
    assert len(list(folder.iterdir())) == 2 * EVENTS
    for event, (tracks, points) in enumerate(events):
        with (folder / f"event{event:09d}-prototracks.csv").open(newline="") as file:
            rows = [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
        expected = [(i, hit, *points[hit]) for i, hits in enumerate(tracks.hits) for hit in hits]
        np.testing.assert_allclose(np.reshape(rows, (-1, 5)), np.reshape(expected, (-1, 5)), rtol=1e-8)


def test_acts_reads_them(written: tuple) -> None:
    """Parameters by its reader; of lists of measurements it has none, so they come through Python."""
    acts = pytest.importorskip("acts", reason="ACTS is not installed (hitpool[acts])")
    examples, level = acts.examples, acts.logging.WARNING
    from hitpool.acts.recorder import covariance, measurements_of, parameters

    folder, events = written

    class Lists(examples.IAlgorithm):
        def __init__(self) -> None:
            examples.IAlgorithm.__init__(self, "Lists", level)
            self.lists = examples.WriteDataHandle(self, examples.ProtoTrackContainer, "Lists")
            self.lists.initialize("lists")
            self.measurements = examples.WriteDataHandle(self, examples.MeasurementSubset, "Measurements")
            self.measurements.initialize("measurements")
            self.kept = []

        def execute(self, context: object) -> object:
            measurements = examples.MeasurementContainer()
            for hit in range(40):
                module = acts.GeometryIdentifier(volume=8, layer=2, sensitive=hit + 1)
                measurements.emplaceMeasurement(module, [0, 1], [0.0, 0.0], [1.0, 1.0])
            self.kept.append(measurements)
            with (folder / f"event{context.eventNumber:09d}-prototracks.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            lists = examples.ProtoTrackContainer()
            for track in range(len({row["trackId"] for row in rows})):
                own = [int(row["measurementId"]) for row in rows if int(row["trackId"]) == track]
                lists.append(examples.ProtoTrack(own))
            self.lists(context, lists)
            self.measurements(context, examples.MeasurementSubset(measurements, range(40)))
            return examples.ProcessCode.SUCCESS

    class Read(examples.IAlgorithm):
        def __init__(self) -> None:
            examples.IAlgorithm.__init__(self, "Read", level)
            self.tracks = examples.ReadDataHandle(self, examples.ConstTrackContainer, "Tracks")
            self.tracks.initialize("tracks")
            self.found = []

        def execute(self, context: object) -> object:
            tracks = list(self.tracks(context.eventStore))
            self.found.append([(list(measurements_of(t))[::-1], parameters(t), covariance(t)) for t in tracks])
            return examples.ProcessCode.SUCCESS

    chain, read = examples.Sequencer(events=EVENTS, numThreads=1, logLevel=level, trackFpes=False), Read()
    reader = examples.CsvTrackParameterReader(
        level=level, inputDir=str(folder), inputStem=STEM, outputTrackParameters="parameters"
    )
    assert reader.availableEvents() == (0, EVENTS)
    chain.addReader(reader)
    chain.addAlgorithm(Lists())
    join = examples.ProtoTracksToTracks(
        level=level,
        inputMeasurements="measurements",
        inputProtoTracks="lists",
        inputTrackParameters="parameters",
        outputTracks="tracks",
    )
    chain.addAlgorithm(join)
    chain.addAlgorithm(read)
    chain.run()
    for (tracks, _), found in zip(events, read.found, strict=True):
        assert len(found) == len(tracks.hits)
        for i, (hits, own, errors) in enumerate(found):
            assert hits == tracks.hits[i].tolist()
            np.testing.assert_allclose(own, tracks.parameters[i], rtol=1e-7)
            np.testing.assert_allclose(errors, tracks.covariance[i], rtol=1e-7)


def test_columns_are_those_of_its_writers(written: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acts = pytest.importorskip("acts", reason="ACTS is not installed (hitpool[acts])")
    from hitpool.acts import chain

    (theirs := tmp_path / "theirs").mkdir()
    add, silent = chain.addKalmanTracks, acts.logging.ERROR

    def also_write(sequencer: acts.examples.Sequencer, *arguments: object) -> None:
        add(sequencer, *arguments)
        parameters = acts.examples.CsvTrackParameterWriter(
            level=silent, inputTracks="kf_tracks", outputDir=str(theirs), outputStem=STEM
        )
        lists = acts.examples.CsvProtoTrackWriter(
            level=silent,
            inputProtoTracks="truth_particle_tracks",
            inputSpacePoints="found_spacepoints",
            outputDir=str(theirs),
        )
        sequencer.addWriter(parameters)
        sequencer.addWriter(lists)

    monkeypatch.setattr(chain, "addKalmanTracks", also_write)
    chain.run((0, 1), 5, 0, "busy")
    names = sorted(path.name for path in theirs.iterdir())
    assert names == ["event000000000-prototracks.csv", f"event000000000-{STEM}.csv"]
    for name in names:
        ours, expected = ((folder / name).read_text().splitlines()[0] for folder in (written[0], theirs))
        assert ours == expected
