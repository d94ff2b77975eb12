"""What the responses of a fit add to a task: honest errors where nothing was measured, and revised logits."""

import pytest
import torch
from torch import Tensor

from hitpool.fits import FitResponse, HitResponse, ToroidFit
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

FIELDS = ["eta", "phi", "qpt", "pt"]
EVENTS, TRACKS, TUBES = 100, 2, 12


def straight_tracks() -> tuple[dict, dict[str, Tensor]]:
    """Events with the tubes that two tracks in the plane y = 0 cross, and the truth [B, N] by field."""
    generator = torch.Generator().manual_seed(1)
    eta = 0.8 * torch.randn(EVENTS, TRACKS, generator=generator, dtype=torch.float64)
    x = torch.linspace(5.0, 10.0, TUBES).expand(EVENTS, TRACKS, -1).flatten(1)  # [B, M]
    z = (x.unflatten(1, (TRACKS, -1)) * eta.sinh().unsqueeze(-1)).flatten(1).float()
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    columns = [x, -one, z, x, one, z, zero, 1e-6 * one, 1e-4 * one, zero]
    inputs = {f"hit_{name}": values for name, values in zip(ToroidFit().inputs, columns, strict=True)}
    sizes = {"query_embed": TRACKS, "hit_embed": TRACKS * TUBES}
    embedded = {name: torch.randn(EVENTS, size, 8, generator=generator) for name, size in sizes.items()}
    qpt = 0.02 * torch.randn(EVENTS, TRACKS, generator=generator, dtype=torch.float64)
    truth = {"eta": eta, "phi": torch.zeros_like(eta), "qpt": qpt, "pt": 1 / qpt.abs()}
    return {**embedded, "hit_valid": torch.ones(EVENTS, TRACKS * TUBES, dtype=torch.bool), "inputs": inputs}, truth


def trained_task(x: dict, truth: dict[str, Tensor], logits: Tensor) -> WeightedPoolingObjectHitRegressionTask:
    torch.manual_seed(3)
    task = WeightedPoolingObjectHitRegressionTask(
        "regression",
        "hit",
        input_object="query",
        output_object="track",
        target_object="particle",
        hit_fields=ToroidFit().inputs,
        fields=FIELDS,
        loss_weight=1.0,
        dim=8,
        standardize=True,
        track_fit=ToroidFit(),
        response=FitResponse(hidden_dim=16),
        hit_response=HitResponse(),
    ).eval()
    task.fit_standardization({field: values.flatten() for field, values in truth.items()})
    task.describing = True
    with torch.no_grad():
        described = {name: part.flatten(0, 1) for name, part in task(x, {"mask": {"track_hit_logit": logits}}).items()}
    task.describing = False
    targets = {f"particle_{field}": values.flatten() for field, values in truth.items()}
    response = task.response.requires_grad_(True)
    response.scale_features(described[task.late_key("features")])
    optimizer = torch.optim.Adam(response.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        task.late_loss(described, targets).backward()
        optimizer.step()
    response.declare(trained=True)
    return task


def predictions(task: WeightedPoolingObjectHitRegressionTask, x: dict, logits: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return task.predict(task(x, {"mask": {"track_hit_logit": logits}}))


def test_without_hits_the_error_is_at_least_the_spread_of_the_targets() -> None:
    x, truth = straight_tracks()
    own = torch.arange(TRACKS * TUBES) // TUBES == torch.arange(TRACKS).unsqueeze(-1)  # [N, M]
    first = torch.arange(TRACKS * TUBES) % TUBES < 3 + torch.arange(EVENTS).view(-1, 1, 1) % 10  # [B, 1, M]
    logits = torch.where(own & first, 6.0, -6.0)
    task = trained_task(x, truth, logits)
    seen = predictions(task, x, logits)
    spread = {name: truth[name].std(correction=0) for name in ("eta", "phi", "qpt")}
    spread["phi"] = torch.tensor(1.0)  # a field with only one value
    assert (seen["track_eta_error"] < 0.1 * spread["eta"]).all()

    alone = logits.clone()
    alone[:, 1] = -6.0  # the second track has no hit
    one, padded = predictions(task, x, alone), dict(x, hit_valid=x["hit_valid"].clone())
    padded["hit_valid"][:, TUBES:] = False  # or none that exists
    for found in (one, predictions(task, padded, logits)):
        for name, least in spread.items():
            torch.testing.assert_close(found[f"track_{name}_error"][:, 0], seen[f"track_{name}_error"][:, 0])
            assert (found[f"track_{name}_error"][:, 1] > 0.999 * least).all(), name
        expected = found["track_pt"].square() * found["track_qpt_error"]
        torch.testing.assert_close(found["track_pt_error"], expected)
    for name in ("eta", "qpt"):
        pull = (one[f"track_{name}"] - truth[name])[:, 1] / one[f"track_{name}_error"][:, 1]
        assert pull.abs().quantile(0.6827) < 1.2, name


def test_a_trained_hit_response_revises_the_logits_and_the_track_is_fitted_again() -> None:
    x, truth = straight_tracks()
    own = torch.arange(TRACKS * TUBES) // TUBES == torch.arange(TRACKS).unsqueeze(-1)  # [N, M]
    logits = torch.where(own, 6.0, -6.0).repeat(EVENTS, 1, 1)
    task = trained_task(x, truth, logits)
    assert task.revises == []
    before = task(x, {"mask": {"track_hit_logit": logits}})
    assert "track_hit_logit" not in before
    torch.nn.init.constant_(task.hit_response.net[-1].bias, -2.0)
    task.hit_response.declare(trained=True)
    assert task.revises == ["track_hit_logit"]
    assert "track_hit_logit" in task.outputs
    after = task(x, {"mask": {"track_hit_logit": logits}})
    revised = torch.where(own, 4.0, -6.0).repeat(EVENTS, 1, 1)
    torch.testing.assert_close(after["track_hit_logit"], revised)
    task.describing = True
    described = task(x, {"mask": {"track_hit_logit": logits}})
    task.describing = False
    assert task.late_key("logits") not in described
    first, second = task.fit_tracks(x, logits), task.fit_tracks(x, revised)
    for number, name in enumerate(("qpt", "eta", "phi")):
        torch.testing.assert_close(described[task.late_key("fit")][..., number], second[name])
        assert not torch.equal(first[name], second[name])
    task.response.declare(trained=False)
    assert task.revises == []


def test_a_hit_response_needs_a_response_and_a_fit_that_tells_of_its_hits() -> None:
    options = {
        "input_object": "query",
        "output_object": "track",
        "target_object": "particle",
        "hit_fields": ["z"],
        "fields": FIELDS,
        "loss_weight": 1.0,
        "dim": 8,
        "hit_response": HitResponse(),
    }
    with pytest.raises(
        ValueError, match="hit_response is trained after a response, and there is none; set one, or leave it out"
    ):
        WeightedPoolingObjectHitRegressionTask("regression", "hit", track_fit=ToroidFit(), **options)

    class Silent(ToroidFit):
        gives = FitResponse().needs

    with pytest.raises(ValueError, match=r"HitResponse reads \['posterior', .*Silent does not give"):
        WeightedPoolingObjectHitRegressionTask(
            "regression", "hit", track_fit=Silent(), response=FitResponse(), **options
        )
