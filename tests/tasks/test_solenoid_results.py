"""What a task takes from `SolenoidFit` as it is: d0 and z0, and the posterior of the hits."""

import pytest
import torch
from torch import Tensor

from hitpool.fits import FitResponse, HitResponse, SolenoidFit
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

from ..fits.solenoid_tracks import simulate

EVENTS, HITS, MISSED, WRONG = 40, 10, 9, 4  # of ten hits the last is not assigned, and the fifth is moved
FIELDS = ["eta", "phi", "qpt", "pt", "own_d0", "own_z0"]


def make_task(**options: object) -> WeightedPoolingObjectHitRegressionTask:
    torch.manual_seed(3)
    common = {
        "input_object": "query",
        "output_object": "track",
        "target_object": "particle",
        "hit_fields": ["x"],
        "fields": FIELDS,
        "loss_weight": 1.0,
        "dim": 8,
        "track_fit": SolenoidFit(field=2.0, beam_spot=(1e-3, 0.1)),
        "response": FitResponse(hidden_dim=16, fit_errors=True),
    }
    return WeightedPoolingObjectHitRegressionTask("regression", "hit", **common | options).eval()


@pytest.fixture(scope="module")
def x() -> dict:
    """One track an event, with a hit that is a centimetre off; two queries."""
    hits = simulate(EVENTS, seed=5).hits.clone()  # [B, M, 11]
    hits[:, WRONG, :3] += 0.01 * hits[:, WRONG, 3:6]
    generator = torch.Generator().manual_seed(1)
    embedded = {
        "query_embed": torch.randn(EVENTS, 2, 8, generator=generator),
        "hit_embed": torch.randn(EVENTS, HITS, 8, generator=generator),
    }
    inputs = {f"hit_{name}": hits[..., k] for k, name in enumerate(SolenoidFit(field=2.0).inputs)}
    return {**embedded, "hit_valid": torch.ones(EVENTS, HITS, dtype=torch.bool), "inputs": inputs}


@pytest.fixture(scope="module")
def logits() -> Tensor:
    """The first query has the hits, the second none [B, 2, M]."""
    own = torch.full((EVENTS, 2, HITS), -6.0)
    own[:, 0, :MISSED] = 4.0
    return own


@torch.no_grad()
def outputs(task: WeightedPoolingObjectHitRegressionTask, x: dict, logits: Tensor) -> dict[str, Tensor]:
    return task(x, {"mask": {"track_hit_logit": logits}})


def test_d0_and_z0_are_those_of_the_fit_in_mm_once_the_response_is_trained(x: dict, logits: Tensor) -> None:
    task = make_task()
    names = [f"own_{name}{end}" for end in ("", "_error") for name in ("d0", "z0")]
    assert not set(names[2:]) & set(task.predicted)
    task.response.declare(trained=True)
    assert set(names) <= set(task.predicted)
    found = task.predict(outputs(task, x, logits))
    fit = task.fit_tracks(x, logits)
    for name in names:
        expected = 1e3 * fit[name.removeprefix("own_")]
        torch.testing.assert_close(found[f"track_{name}"], expected.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["track_own_d0_error"][:, 1], torch.full((EVENTS,), 1.0))  # the beam spot
    torch.testing.assert_close(found["track_own_z0_error"][:, 1], torch.full((EVENTS,), 100.0))
    assert (found["track_own_z0_error"][:, 0] < 2).all()


def test_a_fit_that_gives_no_errors_of_them_leaves_d0_and_z0_to_the_head(x: dict, logits: Tensor) -> None:
    class Older(SolenoidFit):
        gives = tuple(name for name in SolenoidFit.gives if name not in ("d0_error", "z0_error"))

    task, older = make_task(), make_task(track_fit=Older(field=2.0, beam_spot=(1e-3, 0.1)))
    for own in (task, older):
        own.response.declare(trained=True)
    assert older.predicted == [name for name in task.predicted if name not in ("own_d0_error", "own_z0_error")]
    found, head = older.predict(outputs(older, x, logits)), make_task().predict(outputs(make_task(), x, logits))
    for name in ("track_own_d0", "track_own_z0"):
        torch.testing.assert_close(found[name], head[name])


def test_the_probability_of_an_assigned_hit_becomes_its_posterior(x: dict, logits: Tensor) -> None:
    task = make_task(hit_posterior=True)
    assert task.revises == []
    assert "track_hit_logit" not in outputs(task, x, logits)
    task.response.declare(trained=True)
    assert task.revises == ["track_hit_logit"]
    done = outputs(task, x, logits)
    revised, fit = done["track_hit_logit"], task.fit_tracks(x, logits)
    assert revised.dtype == logits.dtype
    torch.testing.assert_close(
        revised[:, 0, :MISSED].sigmoid(), fit["posterior"][:, 0, :MISSED].float(), atol=2e-6, rtol=0
    )
    assert torch.equal(revised[:, 0, MISSED:], logits[:, 0, MISSED:])
    assert torch.equal(revised[:, 1], logits[:, 1])
    right = [hit for hit in range(MISSED) if hit != WRONG]
    assert (revised[:, 0, right] > 0).float().mean() > 0.98
    assert (revised[:, 0, WRONG] < -5).all()
    plain = make_task()
    plain.response.declare(trained=True)
    for name, value in outputs(plain, x, logits).items():
        assert torch.equal(value, done[name]), name  # the parameters are those of the same fit


def test_hits_beyond_those_that_the_fit_takes_are_none_of_the_track(x: dict, logits: Tensor) -> None:
    task = make_task(hit_posterior=True, track_fit=SolenoidFit(field=2.0, max_hits=5))
    task.response.declare(trained=True)
    ranked = logits + 0.1 * torch.arange(HITS)
    revised = outputs(task, x, ranked)["track_hit_logit"]
    assert (revised[:, 0, : MISSED - 5] < -10).all()
    assert torch.equal(revised[:, 0, MISSED:], ranked[:, 0, MISSED:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"response": None, "track_fit": None},
            "task regression: hit_posterior comes with a response, and there is none; set one",
        ),
        ({"hit_response": HitResponse()}, "task regression: hit_response and hit_posterior both revise the hits; keep"),
        (
            {"track_fit": type("Silent", (SolenoidFit,), {"gives": SolenoidFit.gives[:-1]})(field=2.0)},
            "task regression: hit_posterior needs a fit that gives the posterior, got Silent",
        ),
    ],
)
def test_options_that_contradict(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(hit_posterior=True, **options)
