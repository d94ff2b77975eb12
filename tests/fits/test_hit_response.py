"""The response of the hits: what it learns from the fit, and what it leaves."""

import pytest
import torch
from torch import Tensor

from hitpool.fits import BoxToroid, HitResponse, ToroidFit
from hitpool.training.hit_refinement import hit_loss
from hitpool.training.late_training import Refinement, train_part

FOREIGN = 0.3  # share of the other hits that are assigned too


@pytest.fixture(scope="module")
def fitted(muons) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Fits of tracks to which foreign hits are assigned, as probably as their own; logits; own hits [B, N, M]."""
    own = (muons.logits > 0) & muons.valid.unsqueeze(1)
    other = torch.rand(own.shape, generator=torch.Generator().manual_seed(1)) < FOREIGN
    logits = torch.where(own | other, 1.5, -6.0)
    return ToroidFit(field=BoxToroid())(muons.hits, logits, muons.valid), logits, own


def test_untrained_it_changes_nothing(fitted):
    fit, logits, _ = fitted
    response = HitResponse()
    assert torch.equal(response(response.describe(fit, logits), fit["hit_taken"], logits), logits)
    assert not response.ready


def test_it_learns_which_hits_the_track_cannot_have_made(fitted, muons):
    fit, logits, own = fitted
    torch.manual_seed(0)
    response = HitResponse()
    described = response.describe(fit, logits)
    assert described.shape == (*logits.shape, 12)
    assert described.isfinite().all()
    chosen = fit["hit_taken"] & muons.there.unsqueeze(-1)
    kept = {"described": described[chosen], "logits": logits[chosen]}, {"own": own[chosen]}
    half = len(kept[1]["own"]) // 2
    first, second = (
        tuple({name: value[part] for name, value in dictionary.items()} for dictionary in kept)
        for part in (slice(None, half), slice(half, None))
    )
    settings = Refinement(epochs=60, learning_rate=1e-2)
    _, before, after = train_part(
        response, lambda *sample: hit_loss(response, *sample), first, second, settings, 1000, 0, None
    )
    assert after < 0.4 * before
    with torch.no_grad():
        revised = response(second[0]["described"], torch.ones(1, dtype=torch.bool), second[0]["logits"]) >= 0
    true = second[1]["own"]
    assert true.double().mean() < 0.85  # purity without it
    assert true[revised].double().mean() > 0.94
    assert revised[true].double().mean() > 0.97


def test_hits_that_took_no_part_keep_their_logits(fitted):
    fit, logits, _ = fitted
    response = HitResponse()
    torch.nn.init.ones_(response.net[-1].bias)
    revised = response(response.describe(fit, logits), fit["hit_taken"], logits)
    torch.testing.assert_close(revised, torch.where(fit["hit_taken"], logits + 1, logits))


def test_it_reads_how_well_a_hit_fits_to_the_best_of_the_other_tracks():
    response = HitResponse()
    posterior = torch.tensor([[[0.2, 0.0], [0.7, 0.0], [0.4, 0.1]]], dtype=torch.float64)  # [1, 3, 2]
    fit = {name: torch.full_like(posterior, 0.01) for name in response.needs[1:5]} | {"posterior": posterior}
    fit |= {name: torch.full((1, 3), 20.0, dtype=torch.float64) for name in ("num_hits", "chi2")}
    seen = response.describe(fit, torch.zeros(1, 3, 2))
    best, likely = seen[..., 10], seen[..., 11]
    torch.testing.assert_close(best, torch.tensor([[[0.7, 0.1], [0.4, 0.1], [0.7, 0.0]]]))
    torch.testing.assert_close(likely, (2 * best + 1e-3).log() / 3)  # rho = posterior / 0.5
    alone = {name: value[:, :1] for name, value in fit.items()}
    assert (response.describe(alone, torch.zeros(1, 1, 2))[..., 10] == 0).all()


def test_whether_it_is_trained_goes_with_the_weights():
    response, other = HitResponse(), HitResponse()
    response.declare(trained=True)
    other.load_state_dict(response.state_dict())
    assert other.ready


def test_a_width_below_one_is_refused():
    with pytest.raises(ValueError, match="HitResponse: hidden_dim must be at least 1, got 0"):
        HitResponse(hidden_dim=0)
