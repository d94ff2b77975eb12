"""Particles and tracks of busy events, at random."""

from collections.abc import Callable

import numpy as np
import pytest

from hitpool.evaluation.finding.particles import Particles


def random_particles(events: int, seed: int = 0, most: int = 60) -> Particles:
    """Events of 2 to `most` particles with 6 to 14 hits, some noise, in 4 vertices."""
    random = np.random.default_rng(seed)
    counts = random.integers(2, most + 1, events)
    first = np.append(0, np.cumsum(counts))
    owner, num_hits = [], []
    for event, count in enumerate(counts):
        own = first[event] + np.repeat(np.arange(count), random.integers(6, 15, count))
        own = random.permutation(np.append(own, np.full(count, -1)))
        owner.append(own)
        num_hits.append(len(own))
    total = int(first[-1])
    vertices = random.normal(0, 50, (events, 4))
    event = np.repeat(np.arange(events), counts)
    values = {
        "pt": random.uniform(0.5, 20, total),
        "eta": random.uniform(-2.5, 2.5, total),
        "phi": random.uniform(-np.pi, np.pi, total),
        "q": random.choice([-1.0, 1.0], total),
        "d0": random.normal(0, 0.01, total),
        "z0": vertices[event, random.integers(4, size=total)] + random.normal(0, 0.02, total),
    }
    values["qpt"] = values["q"] / values["pt"]
    numbers = np.sort(random.choice(10 * events, events, replace=False))
    return Particles(
        numbers, first, np.append(0, np.cumsum(num_hits)), np.concatenate(owner), values, {"z0": "mm", "d0": "mm"}
    )


@pytest.fixture
def busy() -> Callable[..., Particles]:
    return random_particles
