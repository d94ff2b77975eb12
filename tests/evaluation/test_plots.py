from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from hitpool.evaluation import plots


def texts(figure: Figure) -> str:
    axes = figure.axes[0]
    legend = axes.get_legend()
    parts = [axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    return " ".join([*parts, legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())])


def inked(path: Path) -> float:
    """Share of the pixels that are not white."""
    assert path.read_bytes().startswith(b"\x89PNG")
    return float((imread(path)[..., :3] < 0.95).any(-1).mean())


def test_residuals_are_fractions_of_all_tracks(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0, 0.1, 2000)
    values[:100] = 50.0
    figure = plots.plot_residuals({"model": values, "trivial": np.full(2000, 0.2)}, "dphi", "cosmics_$2026$", "rad")
    text = texts(figure)
    for part in (
        "dphi [rad]",
        "Fraction of tracks per bin",
        "cosmics_$2026$",
        "2000 tracks",
        "0.0% below, 5.0% above",
    ):
        assert part in text
    assert "ATLAS" not in text
    assert "simulation" not in text
    heights = [patch.get_data().values.sum() for patch in figure.axes[0].patches]
    assert max(heights) == pytest.approx(1.0)
    assert min(heights) == pytest.approx(0.95)
    assert inked(plots.save(figure, tmp_path / "new" / "residual.png")) > 0.02


@pytest.mark.parametrize("values", [[], [0.3], [0.0, 0.0], [np.nan, 0.1, 0.2]])
def test_few_residuals_can_be_drawn(values: list[float], tmp_path: Path) -> None:
    figure = plots.plot_residuals({"model": values, "trivial": np.zeros(len(values))}, "residual", "mine/test")
    assert f"{len(values)} tracks" in texts(figure)
    assert ("1 not finite" in texts(figure)) == bool(np.isnan(values).any())
    assert inked(plots.save(figure, tmp_path / "residual.png")) > 0.01


def test_style_is_left_behind(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    plots.save(plots.plot_residuals({"model": [0.1, 0.2]}, "residual", "mine/test"), tmp_path / "residual.png")
    assert dict(matplotlib.rcParams) == before
