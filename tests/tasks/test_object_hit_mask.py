import pytest
import torch
from torch import Tensor

from hitpool.nn.losses import mask_bce_loss
from hitpool.tasks import ObjectHitMaskTask

NAMES = {"input_hit": "hit", "input_object": "query", "output_object": "track", "target_object": "particle"}


def make(**options: object) -> ObjectHitMaskTask:
    arguments = {"losses": {"mask_bce": 1.0}, "costs": {"mask_bce": 1.0}, "dim": 8} | options
    return ObjectHitMaskTask("track_hit_valid", **NAMES, **arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_products_and_lowest_at_padded_hits(x: dict, dtype: torch.dtype) -> None:
    task = make().to(dtype)
    x = x | {name: x[name].to(dtype) for name in ("query_embed", "hit_embed")}
    logit = task(x)["track_hit_logit"]
    objects, hits = task.object_net(x["query_embed"]), task.hit_net(x["hit_embed"])
    expected = (objects.unsqueeze(2) * hits.unsqueeze(1)).sum(-1)
    valid = x["hit_valid"].unsqueeze(1).expand_as(logit)
    torch.testing.assert_close(logit[valid], expected[valid], atol=0.05 if dtype == torch.bfloat16 else 1e-5, rtol=0.01)
    assert (logit[~valid] == torch.finfo(dtype).min).all()
    assert not logit[~valid].sigmoid().any()


def test_losses_carry_their_weights(x: dict, targets: dict[str, Tensor]) -> None:
    task = make(losses={"mask_bce": 1.0, "mask_focal": 2.0, "mask_dice": 3.0}, null_weight=0.2)
    outputs = task(x)
    losses = task.loss(outputs, targets)
    assert list(losses) == ["mask_bce", "mask_focal", "mask_dice"]
    weight = torch.where(targets["particle_valid"], 1.0, 0.2).unsqueeze(-1)
    expected = mask_bce_loss(
        outputs["track_hit_logit"], targets["particle_hit_valid"], targets["hit_valid"].unsqueeze(1), weight
    )
    torch.testing.assert_close(losses["mask_bce"], expected)
    heavy = make(losses={"mask_dice": 6.0}, null_weight=0.2)
    torch.testing.assert_close(heavy.loss(outputs, targets)["mask_dice"], 2 * losses["mask_dice"])


def test_costs_prefer_the_right_hits(targets: dict[str, Tensor]) -> None:
    names = ["mask_bce", "mask_focal", "mask_dice"]
    logit = torch.where(targets["particle_hit_valid"].flip(1), 3.0, -3.0)
    costs = make(costs=dict.fromkeys(names, 1.0)).cost({"track_hit_logit": logit}, targets)
    assert list(costs) == names
    for cost in costs.values():
        assert cost[0, 1, 0] < cost[0, 0, 0]
        assert cost[0, 0, 1] < cost[0, 1, 1]
        assert cost.isfinite().all()


def test_attention_mask_has_the_hits_above_threshold(x: dict) -> None:
    outputs = make()(x)
    mask = make(mask_attn_threshold=0.3).attn_mask(outputs)["hit"]
    assert torch.equal(mask, outputs["track_hit_logit"].sigmoid() >= 0.3)
    assert not mask.requires_grad
    assert make(mask_attn=False).attn_mask(outputs) == {}


def test_predict_and_metrics(targets: dict[str, Tensor]) -> None:
    task = make()
    true = targets["particle_hit_valid"]
    logit = torch.where(true, 2.0, -2.0)
    logit[0, 0, 0] = -1.0  # a true hit that is missed
    logit[0, 1, 0] = 1.0  # a wrong hit
    logit[3] = 5.0  # in empty slots, which do not count
    preds = task.predict({"track_hit_logit": logit})
    assert torch.equal(preds["track_hit_valid"], logit >= 0)
    torch.testing.assert_close(preds["track_hit_valid_prob"], logit.sigmoid())
    metrics, count = task.metrics(preds, targets), int(true.sum())
    assert metrics["hit_efficiency"].item() == pytest.approx((count - 1) / count)
    assert metrics["hit_purity"].item() == pytest.approx((count - 1) / count)
    nothing = targets | {"particle_valid": torch.zeros(4, 2, dtype=torch.bool)}
    assert task.metrics(preds, nothing) == {}


def test_prediction_threshold() -> None:
    logit = torch.tensor([[[0.0, 1.0, 2.0]]])
    assert make(pred_threshold=0.8).predict({"track_hit_logit": logit})["track_hit_valid"].tolist() == [
        [[False, False, True]]
    ]


def test_unknown_terms_are_refused() -> None:
    with pytest.raises(ValueError, match=r"costs \['bce'\] do not exist; choose from \['mask_bce', 'mask_dice'"):
        make(costs={"bce": 1.0})
