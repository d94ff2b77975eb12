"""Hits that several tracks claim, and tracks with too few."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitpool.export.recording import EVENTS, HITS
from hitpool.nn import AmbiguityResolution, MaskFormer

THRESHOLD = 0.5


def resolve_by_loops(prob: Tensor, track_prob: Tensor, least_hits: int) -> tuple[list[bool], list[list[bool]]]:
    """Valid tracks of one event, and the hits of each, by the definition."""
    valid = [p >= THRESHOLD for p in track_prob.tolist()]
    claims = [[p >= THRESHOLD for p in row] for row in prob.tolist()]
    score = [sum(p for p in row if p >= THRESHOLD) for row in prob.tolist()]
    for hit in range(prob.shape[1]):
        claiming = [n for n, own in enumerate(claims) if own[hit] and valid[n]]
        for n in claiming:
            claims[n][hit] = n == max(claiming, key=lambda n: score[n])
    kept = [ok and sum(own) >= least_hits for ok, own in zip(valid, claims, strict=True)]
    return kept, [[hit and ok for hit in own] for ok, own in zip(kept, claims, strict=True)]


def predictions(prob: Tensor, track_prob: Tensor) -> dict[str, dict[str, Tensor]]:
    return {
        "validity": {"track_valid": track_prob >= THRESHOLD, "track_valid_prob": track_prob},
        "assignment": {"track_hit_valid": prob >= THRESHOLD, "track_hit_valid_prob": prob},
        "regression": {"track_pt": torch.ones_like(track_prob)},
    }


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(1, 6), st.integers(0, 12), st.integers(0, 5), st.integers(0, 2**30))
def test_it_is_what_the_definition_says(events: int, tracks: int, hits: int, least_hits: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prob = torch.rand(events, tracks, hits, generator=generator, dtype=torch.float64)
    track_prob = torch.rand(events, tracks, generator=generator, dtype=torch.float64)
    given_preds = predictions(prob, track_prob)
    found = AmbiguityResolution(least_hits)(given_preds)
    assert found["regression"] == given_preds["regression"]
    assert torch.equal(given_preds["assignment"]["track_hit_valid_prob"], prob)
    for event in range(events):
        valid, claims = resolve_by_loops(prob[event], track_prob[event], least_hits)
        assert found["validity"]["track_valid"][event].tolist() == valid
        assert found["assignment"]["track_hit_valid"][event].tolist() == claims
    for task, name, before in (("validity", "track_valid", track_prob), ("assignment", "track_hit_valid", prob)):
        after = found[task][f"{name}_prob"]
        assert torch.equal(found[task][name], after >= THRESHOLD)
        assert ((after == before) | (after == 0)).all()
    assert torch.equal(
        found["validity"]["track_valid_prob"][track_prob < THRESHOLD], track_prob[track_prob < THRESHOLD]
    )


def test_of_two_tracks_of_one_particle_the_better_one_is_left() -> None:
    prob = torch.full((1, 3, 20), 0.01)
    prob[0, 0, :10] = 0.9
    prob[0, 1, :9] = 0.95  # more certain of each hit, but has fewer of them
    prob[0, 2, 9:] = 0.8  # another one, which shares a hit with the first
    found = AmbiguityResolution(least_hits=6)(predictions(prob, torch.full((1, 3), 0.9)))
    assert found["validity"]["track_valid"].tolist() == [[True, False, True]]
    assert found["assignment"]["track_hit_valid"].sum(-1).tolist() == [[10, 0, 10]]


def test_it_is_the_same_in_standard_operators_of_onnx(as_onnx: Callable) -> None:
    resolution = AmbiguityResolution(3)

    def resolve(prob: Tensor, track_prob: Tensor) -> tuple[Tensor, ...]:
        found = resolution(predictions(prob, track_prob))
        return tuple(found["validity"].values()) + tuple(found["assignment"].values())

    generator = torch.Generator().manual_seed(4)
    prob, track_prob = torch.rand(50, 6, 17, generator=generator), torch.rand(50, 6, generator=generator)
    run = as_onnx(resolve, (prob[:2, :, :7], track_prob[:2]), {2: EVENTS, 7: HITS})
    for events, hits in ((50, 17), (1, 1), (0, 5), (3, 0)):
        given = prob[:events, :, :hits], track_prob[:events]
        for got, expected in zip(run(*given), resolve(*given), strict=True):
            assert torch.equal(got, expected)


def test_close_decisions_are_found() -> None:
    """By a hit at the threshold, or by two tracks that are equally good; of a track that is not valid none counts."""
    prob = torch.full((6, 2, 8), 0.01)
    prob[:, 0, :5], prob[:, 1, 4:] = 0.9, 0.8  # sums of 4.5 and 3.2
    track_prob = torch.full((6, 2), 0.9)
    prob[1, 0, 0] = 0.5 + 1e-6
    prob[2, 1, 4] = 0.5 - 1e-6
    prob[3, 1, 4:] = 4.5 / 4 - 1e-6
    prob[4], track_prob[4, 1] = prob[3], 0.4
    prob[5, 1, 0] = 0.5 + 1e-4
    close = AmbiguityResolution().is_close(predictions(prob, track_prob), THRESHOLD, 1e-5)
    assert close.tolist() == [False, True, True, True, False, False]
    one = predictions(prob[:, :1], track_prob[:, :1])
    assert AmbiguityResolution().is_close(one, THRESHOLD, 1e-5).tolist() == [False, True, *[False] * 4]


def test_a_network_predicts_with_it_and_is_trained_without(build: Callable, batch: Callable) -> None:
    inputs, targets = batch([9, 30, 0], [2, 1, 0])
    network = build().eval()
    torch.nn.init.constant_(network.tasks[0].net[-1].bias, 9.0)  # all tracks are valid
    with torch.no_grad():
        outputs = network(inputs)
        plain, losses = network.predict(outputs)["final"], network.loss(network.match(outputs, targets), targets)
        network.ambiguity = AmbiguityResolution()
        again, resolved = network(inputs), network.predict(outputs)["final"]
        torch.testing.assert_close(again, outputs, rtol=0, atol=0)
        torch.testing.assert_close(network.loss(network.match(again, targets), targets), losses, rtol=0, atol=0)
    torch.testing.assert_close(resolved, network.ambiguity(plain), rtol=0, atol=0)
    claims, shares = (preds["track_hit_valid"]["track_hit_valid"].sum(1) for preds in (plain, resolved))  # [B, M]
    assert claims.max() == 2
    assert torch.equal(shares, claims.clamp(max=1))


def test_names_and_numbers_that_are_wrong(build: Callable) -> None:
    with pytest.raises(ValueError, match="AmbiguityResolution: least_hits must not be negative, got -1"):
        AmbiguityResolution(-1)
    network = build()
    message = "MaskFormer: ambiguity needs a task with muon_logit, none gives it; set track and hit of Ambiguity"
    with pytest.raises(ValueError, match=message):
        MaskFormer(
            network.input_nets,
            network.encoder,
            network.decoder,
            network.tasks,
            16,
            ambiguity=AmbiguityResolution(0, "muon"),
        )
