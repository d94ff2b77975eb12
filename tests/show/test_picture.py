from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hitpool.evaluation.plots import save
from hitpool.show.event import Event
from hitpool.show.page import event_page
from hitpool.show.picture import GREY, hit_colors, particle_color, plot_event

KINDS = ["MDT"] * 4 + ["RPC"] * 2 + ["TGC"] * 2 + ["sTGC", "MM", "MM", "other"]


@pytest.fixture
def event() -> Event:
    generator = np.random.default_rng(2)
    middle = generator.uniform(-9, 9, (12, 3))
    half = generator.uniform(0, 0.8, (12, 3))
    link = np.arange(12) % 3
    return Event(
        low=middle - half,
        high=middle + half,
        unit="m",
        along=None,
        particle_hits=np.stack([link == 0, link == 1]),
        particles=["pT = 20 GeV", "pT = 45 GeV"],
        directions=np.array([[0.0, 0.3], [-1.7, -2.0]]),
        kinds=KINDS,
        probability=generator.random((2, 12)),
    )


@pytest.fixture
def simple(event: Event) -> Event:
    return replace(event, directions=None, kinds=None, unit="cm")


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def rings(figure: Figure, view: int, track: int) -> np.ndarray:
    hollow = [c for c in figure.axes[view].collections if hasattr(c, "get_sizes") and not len(c.get_facecolors())]
    hollow = [c for c in hollow if c.get_zorder() == 5]
    return np.asarray(hollow[track].get_offsets())


def lines(figure: Figure, view: int) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata()) for line in figure.axes[view].lines]


def test_rings_mark_the_hits_from_the_threshold_on(event: Event) -> None:
    figure = plot_event(event, "mine/test", threshold=0.4)
    middle = (event.low + event.high) / 2
    for track, probability in enumerate(event.probability):
        pooled = probability >= 0.4
        side = np.stack([middle[:, 2], np.hypot(middle[:, 0], middle[:, 1])], axis=1)
        np.testing.assert_allclose(rings(figure, 0, track), side[pooled])
        np.testing.assert_allclose(rings(figure, 1, track), middle[pooled, :2])


def test_words(event: Event) -> None:
    figure = plot_event(event, "mine/test")
    words = legend(figure)
    assert {"MDT hit", "RPC hit", "TGC hit", "sTGC hit", "MM hit", "true: pT = 20 GeV"} < set(words)
    assert "CSC hit" not in words
    assert sum("assigned to track" in word for word in words) == 2
    assert sum("true" in word for word in words) == 2
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [("z [m]", "r [m]"), ("x [m]", "y [m]")]
    assert figure.axes[0].texts[0].get_text() == "mine/test"


def test_true_tracks_begin_in_their_directions(event: Event) -> None:
    (start, end), _ = lines(plot_event(event, "mine/test"), view=1)
    np.testing.assert_array_equal(start, 0)
    assert np.arctan2(end[1], end[0]) == pytest.approx(0.3)


def test_without_directions_they_lead_through_their_hits(simple: Event) -> None:
    first, _ = lines(plot_event(simple, "mine/test"), view=1)
    own = simple.middle[simple.particle_hits[0]]
    order = np.argsort(np.linalg.norm(own, axis=1))
    np.testing.assert_allclose(first, np.concatenate([[[0, 0]], own[order, :2]]))


def test_without_kinds_hits_have_the_colours_of_their_true_tracks(simple: Event) -> None:
    expected = [particle_color(0), particle_color(1), GREY] * 4
    assert hit_colors(simple) == expected
    assert hit_colors(replace(simple, particle_hits=np.zeros((0, 12), bool), particles=[])) == [GREY] * 12


def test_a_forward_detector_is_seen_from_two_sides(simple: Event) -> None:
    figure = plot_event(replace(simple, along=2), "mine/test")
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [("z [cm]", "x [cm]"), ("z [cm]", "y [cm]")]
    own = simple.middle[simple.particle_hits[0]]
    np.testing.assert_allclose(lines(figure, 0)[0], own[np.argsort(np.abs(own[:, 2]))][:, [2, 0]])


def test_without_model_there_are_no_rings(event: Event) -> None:
    assert not any("assigned" in word for word in legend(plot_event(replace(event, probability=None), "mine/test")))


def test_many_tracks_have_a_short_legend(simple: Event) -> None:
    many = replace(simple, particle_hits=np.zeros((30, 12), bool), particles=[""] * 30)
    words = legend(plot_event(many, "mine/test"))
    assert "and 22 more true tracks" in words
    assert len(words) < 14


def test_the_page_has_all_hits(simple: Event) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    page = event_page(simple, "my events", threshold=0.4)
    assert page.startswith("<!doctype html>")
    assert "my events" in page
    for words in ("true: pT = 20 GeV", "assigned to track 2", "x [cm]"):
        assert words in page
    assert graph_objects.Scatter3d


def test_size_of_the_file(event: Event, tmp_path: Path) -> None:
    path = save(plot_event(event, "mine/test"), tmp_path / "event.png")
    assert 20_000 < path.stat().st_size < 150_000


def test_an_event_without_hits_and_particles(tmp_path: Path) -> None:
    points, none = np.zeros((0, 3)), np.zeros((0, 0))
    for along, kinds in ((None, []), (2, None)):
        empty = Event(points, points, "m", along, none.astype(bool), [], None, kinds, none)
        assert save(plot_event(empty, "mine/test"), tmp_path / "event.png").stat().st_size > 5_000
