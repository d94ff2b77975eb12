"""The simulated spectrometer turned by one of its eight sectors, which brings sensors onto sensors."""

import math

import numpy as np
import pytest
import torch
import yaml

from hitpool.configuration.files import find
from hitpool.data import HitFeatures
from hitpool.simulation import HIT_FEATURES, Settings, generate_events, muon_layers

SECTOR = math.pi / 4
EDGES = [f"spacePoint_globEdge{edge}" for edge in ("Low", "High")]
DATA = yaml.safe_load(find("muon.yaml").read_text())["data"]
PAIRS = [(f"{edge}X", f"{edge}Y") for edge in EDGES]
PAIRS += [("cos_phi", "sin_phi"), ("mid_cos_phi", "mid_sin_phi"), ("mid_x", "mid_y")]


def turned(x: torch.Tensor, y: torch.Tensor, sectors: int) -> tuple[torch.Tensor, torch.Tensor]:
    cosine, sine = math.cos(sectors * SECTOR), math.sin(sectors * SECTOR)
    return cosine * x - sine * y, sine * x + cosine * y


@pytest.fixture(scope="module")
def hits() -> torch.Tensor:
    """Hits of all kinds and azimuths, float64 so that turning them does not round."""
    return torch.from_numpy(generate_events(np.random.default_rng(4), 60, Settings()).hits).double()


def turned_hits(hits: torch.Tensor, sectors: int) -> torch.Tensor:
    hits = hits.clone()
    for edge in EDGES:
        x, y = HIT_FEATURES.index(f"{edge}X"), HIT_FEATURES.index(f"{edge}Y")
        hits[:, x], hits[:, y] = turned(hits[:, x], hits[:, y], sectors)
    return hits


def test_an_eighth_of_a_turn_brings_sensors_onto_sensors() -> None:
    layers = muon_layers()
    rows = np.arange(len(layers.sectors))
    step = layers.sectors // 8
    for sector in range(48):
        here, there = (layers.sector_phi(rows, (sector + shift) % layers.sectors) for shift in (0, step))
        np.testing.assert_allclose(np.exp(1j * (there - here)), np.exp(1j * SECTOR), atol=1e-12)


@pytest.mark.parametrize("sectors", range(1, 8))
def test_a_turned_event_has_turned_fields(hits: torch.Tensor, sectors: int) -> None:
    """Of the default inputs, coordinates, cosines and sines turn; all others stay as they are."""
    names = DATA["inputs"]["hit"]
    features = HitFeatures(HIT_FEATURES, names, DATA["scale_factors"])
    before, after = (
        dict(zip(names, features(h.float()).unbind(-1), strict=True)) for h in (hits, turned_hits(hits, sectors))
    )
    close = {"rtol": 1e-5, "atol": 1e-5}
    for pair in PAIRS:
        for got, expected in zip(
            (after[name] for name in pair), turned(*(before[n] for n in pair), sectors), strict=True
        ):
            torch.testing.assert_close(got, expected, **close)
    for name in set(names) - {name for pair in PAIRS for name in pair}:
        torch.testing.assert_close(after[name], before[name], **close, msg=name)


@pytest.mark.parametrize("sectors", [1, 4])
def test_an_angle_of_a_turned_event_is_turned(hits: torch.Tensor, sectors: int) -> None:
    features = HitFeatures(HIT_FEATURES, ["phi", "mid_phi"])
    difference = features(turned_hits(hits, sectors).float()) - features(hits.float())
    full_turns = (difference - sectors * SECTOR) / (2 * math.pi)
    torch.testing.assert_close(full_turns, full_turns.round(), rtol=0, atol=1e-5)
    assert full_turns.unique().numel() > 1  # the jump is where it was
