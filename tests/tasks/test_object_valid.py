import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from hitpool.tasks import ObjectValidTask


def make(**options: object) -> ObjectValidTask:
    arguments = {"losses": {"object_bce": 2.0}, "costs": {"object_bce": 10.0}, "dim": 8} | options
    return ObjectValidTask("track_valid", "query", "track", "particle", **arguments)


def test_loss_is_weighted_cross_entropy(targets: dict[str, Tensor]) -> None:
    logit = torch.randn(4, 2)
    loss = make(null_weight=0.3).loss({"track_logit": logit}, targets)
    weight = targets["particle_valid"] * 0.7 + 0.3
    expected = 2 * bce(logit, targets["particle_valid"].float(), weight)
    torch.testing.assert_close(loss["object_bce"], expected)


def test_cost_is_lower_for_the_query_that_is_more_sure(targets: dict[str, Tensor]) -> None:
    cost = make().cost({"track_logit": torch.tensor([[-1.0, 3.0]] * 4)}, targets)["object_bce"]
    assert cost.shape == (4, 2, 2)
    assert cost[1, 0, 0].item() == pytest.approx(10 * math.log1p(math.exp(1.0)))
    assert cost[1, 1, 0] < cost[1, 0, 0]


def test_predict_and_metrics(targets: dict[str, Tensor]) -> None:
    task = make()
    preds = task.predict({"track_logit": torch.tensor([[2.0, -1.0], [1.0, 3.0], [-2.0, -2.0], [0.0, -1.0]])})
    assert preds["track_valid"].tolist() == [[True, False], [True, True], [False, False], [True, False]]
    assert preds["track_valid_prob"][0, 0].item() == pytest.approx(1 / (1 + math.exp(-2)))
    metrics = {name: value.item() for name, value in task.metrics(preds, targets).items()}
    assert metrics == {"efficiency": pytest.approx(2 / 4), "fake_rate": pytest.approx(2 / 4)}
    nothing = {"particle_valid": torch.zeros(4, 2, dtype=torch.bool)}
    assert task.metrics({"track_valid": nothing["particle_valid"]}, nothing) == {}


def test_query_mask_is_off_by_default_and_restricts_predictions(x: dict) -> None:
    outputs = {"track_logit": torch.tensor([[1.0, -1.0]])}
    assert make().query_mask(outputs) is None
    assert make(mask_queries=True).query_mask(outputs).tolist() == [[True, False]]
    mask = torch.tensor([[False, True]])
    assert make().predict(outputs, query_mask=mask)["track_valid"].tolist() == [[False, False]]


def test_forward_reads_the_queries(x: dict) -> None:
    task = make()
    logit = task(x)["track_logit"]
    torch.testing.assert_close(logit, task.net(x["query_embed"])[..., 0])


@pytest.mark.parametrize("kind", ["losses", "costs"])
def test_unknown_terms_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"task track_valid: {kind} \['focal'\] do not exist; choose from"):
        make(**{kind: {"focal": 1.0}})
