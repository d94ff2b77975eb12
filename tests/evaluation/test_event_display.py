from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hitpool.evaluation import plot_event
from hitpool.evaluation.event_display import Event
from hitpool.evaluation.plots import save


@pytest.fixture
def event() -> Event:
    generator = np.random.default_rng(2)
    middle = generator.uniform(-9000, 9000, (12, 3))
    half = generator.uniform(0, 800, (12, 3))
    link = np.arange(12) % 3
    return Event(
        low=middle - half,
        high=middle + half,
        technology=np.array([0, 0, 0, 0, 2, 2, 3, 3, 4, 5, 5, 9]),
        particle_hits=np.stack([link == 0, link == 1]),
        pt=np.array([20.0, 45.0]),
        eta=np.array([0.0, -1.7]),
        phi=np.array([0.3, -2.0]),
        charge=np.array([1.0, -1.0]),
        probability=generator.random((2, 12)),
    )


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def rings(figure: Figure, view: int, track: int) -> np.ndarray:
    hollow = [c for c in figure.axes[view].collections if hasattr(c, "get_sizes") and not len(c.get_facecolors())]
    hollow = [c for c in hollow if c.get_zorder() == 5]
    return np.asarray(hollow[track].get_offsets())


def test_rings_mark_the_hits_from_the_threshold_on(event: Event) -> None:
    figure = plot_event(event, "mine/test", threshold=0.4)
    middle = (event.low + event.high) / 2000
    for track, probability in enumerate(event.probability):
        pooled = probability >= 0.4
        side = np.stack([middle[:, 2], np.hypot(middle[:, 0], middle[:, 1])], axis=1)
        np.testing.assert_allclose(rings(figure, 0, track), side[pooled])
        np.testing.assert_allclose(rings(figure, 1, track), middle[pooled, :2])


def test_words(event: Event) -> None:
    figure = plot_event(event, "mine/test")
    words = legend(figure)
    assert {"MDT hit", "RPC hit", "TGC hit", "sTGC hit", "MM hit"} < set(words)
    assert "CSC hit" not in words
    assert sum("assigned to track" in word for word in words) == 2
    assert sum("true" in word for word in words) == 2
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [("z [m]", "r [m]"), ("x [m]", "y [m]")]
    assert figure.axes[0].texts[0].get_text() == "mine/test"


def test_without_model_there_are_no_rings(event: Event) -> None:
    assert not any("pooled" in word for word in legend(plot_event(replace(event, probability=None), "mine/test")))


def test_size_of_the_file(event: Event, tmp_path: Path) -> None:
    path = save(plot_event(event, "mine/test"), tmp_path / "event.png")
    assert 20_000 < path.stat().st_size < 150_000


def test_an_event_without_hits_and_particles(tmp_path: Path) -> None:
    none = np.zeros(0)
    points = np.zeros((0, 3))
    empty = Event(points, points, none, np.zeros((0, 0), bool), none, none, none, none, np.zeros((0, 0)))
    assert save(plot_event(empty, "mine/test"), tmp_path / "event.png").stat().st_size > 5_000
