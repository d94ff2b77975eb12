"""Tracks of a model against plain loops over queries, particles and hits."""

import numpy as np
import pytest
import torch

from hitpool.evaluation.finding.found import Found
from hitpool.evaluation.finding.model_tracks import ModelTracks
from hitpool.evaluation.finding.particles import Particles

FIELDS = {"eta": "eta", "qpt": "qpt", "truth_z0": "truth_z0"}


def link_of(particles: Particles, event: int) -> np.ndarray:
    """Number in its event of the particle of each hit, -1 for none."""
    own = particles.owner[particles.first_hit[event] : particles.first_hit[event + 1]]
    return np.where(own >= 0, own - particles.first[event], -1)


def batch_of(particles: Particles, events: list[int], queries: int, slots: int, random: np.random.Generator) -> dict:
    """What a prediction gives: queries with most hits of a particle, some of others; padded hits are assigned, too."""
    sizes = np.diff(particles.first_hit)[events]
    shape = len(events), queries, sizes.max()
    assigned, belongs = np.zeros(shape, bool), np.zeros((len(events), slots, sizes.max()), bool)
    for i, event in enumerate(events):
        link = link_of(particles, event)
        belongs[i, :, : sizes[i]] = link == np.arange(slots)[:, None]
        assigned[i, :, sizes[i] :] = True
        for query, number in enumerate(random.integers(link.max() + 2, size=queries)):
            own = (link == number) & (random.random(len(link)) < random.choice([0.5, 0.8, 1.0]))
            assigned[i, query, : sizes[i]] = own | (random.random(len(link)) < random.choice([0.0, 0.01]))
    values = {f"track_{field}": random.normal(size=shape[:2]) for field in FIELDS.values()}
    values["track_eta_error"] = random.uniform(0.1, 0.2, shape[:2])
    preds = {"track_valid": random.random(shape[:2]) < 0.8, "track_hit_valid": assigned, **values}
    targets = {
        "sample_id": particles.events[events],
        "hit_valid": np.arange(sizes.max()) < sizes[:, None],
        "particle_hit_valid": belongs,
    }
    return {
        "preds": {"all": {name: torch.tensor(own) for name, own in preds.items()}},
        "targets": {name: torch.tensor(own) for name, own in targets.items()},
    }


def collect(particles: Particles, batches: list[dict]) -> Found:
    collector = ModelTracks(particles, "track", "particle", "hit", FIELDS)
    for batch in batches:
        collector.on_predict_batch_end(None, None, batch)
    return collector.found


@pytest.mark.parametrize("queries", [60, 80])
def test_tracks_are_those_of_loops(busy, queries: int) -> None:
    random, particles = np.random.default_rng(1), busy(12)
    order = random.permutation(12).tolist()
    batches = [batch_of(particles, order[:5], queries, 60, random), batch_of(particles, order[5:], queries, 60, random)]
    found = collect(particles, batches)
    track = 0
    for batch, events in zip(batches, (order[:5], order[5:]), strict=True):
        preds = batch["preds"]["all"]
        for i, event in enumerate(events):
            link = link_of(particles, event)
            for query in range(queries):
                if not preds["track_valid"][i, query]:
                    continue
                hits = {m for m in range(len(link)) if preds["track_hit_valid"][i, query, m]}
                belonging = [
                    n
                    for n in range(link.max() + 1)
                    for own in [set(np.flatnonzero(link == n).tolist())]
                    if len(own & hits) > len(hits) / 2 and len(own & hits) > len(own) / 2
                ]
                expected = particles.first[event] + belonging[0] if belonging else -1
                assert found.particle[track] == expected
                assert found.event[track] == event
                assert found.hits[track] == len(hits)
                assert found.shared[track] == (sum(link[list(hits)] == belonging[0]) if belonging else 0)
                assert found.values["eta"][track] == preds["track_eta"][i, query]
                assert found.values["z0"][track] == preds["track_truth_z0"][i, query]
                assert found.errors["eta"][track] == preds["track_eta_error"][i, query]
                track += 1
    assert track == len(found.event)
    assert found.duplicate.sum() > 20
    assert len(np.unique(found.particle[found.best])) == found.best.sum()
    np.testing.assert_allclose(found.values["qop"], found.values["qpt"] / np.cosh(found.values["eta"]))
    np.testing.assert_allclose(found.values["pt"], 1 / np.abs(found.values["qpt"]))


def test_nothing_depends_on_the_order_of_queries(busy) -> None:
    random, particles = np.random.default_rng(2), busy(4)
    batch = batch_of(particles, [0, 1, 2, 3], 60, 60, random)
    found = collect(particles, [batch])
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    batch["preds"]["all"] = {name: own[:, order] for name, own in batch["preds"]["all"].items()}
    again = collect(particles, [batch])
    assert found.best.sum() == again.best.sum()
    np.testing.assert_array_equal(np.sort(found.particle), np.sort(again.particle))


def test_one_event_of_20_000_hits_and_2_000_tracks() -> None:
    tracks, hits = 2000, 20_000
    owner = np.append(np.repeat(np.arange(tracks), 8), np.full(hits - 8 * tracks, -1))
    particles = Particles(np.array([3]), np.array([0, tracks]), np.array([0, hits]), owner, {}, {})
    belongs = torch.tensor(owner) == torch.arange(tracks)[:, None]  # [N, M]
    preds = {"track_valid": torch.ones(1, tracks, dtype=torch.bool), "track_hit_valid": belongs.flip(0)[None]}
    targets = {
        "sample_id": torch.tensor([3]),
        "hit_valid": torch.ones(1, hits, dtype=torch.bool),
        "particle_hit_valid": belongs[None],
    }
    found = collect(particles, [{"preds": {"all": preds}, "targets": targets}])
    np.testing.assert_array_equal(found.particle, np.arange(tracks)[::-1])
    assert (found.shared == 8).all()
