"""The tangent of the pooling task is that of finite differences."""

import torch
from torch.func import jvp

from hitpool.tasks import WeightedPoolingObjectHitRegressionTask


def test_tangent_of_the_pooling_task():
    torch.manual_seed(0)
    task = WeightedPoolingObjectHitRegressionTask(
        name="regression",
        input_hit="hit",
        input_object="query",
        output_object="track",
        target_object="particle",
        hit_fields=["r", "theta"],
        fields=["eta", "pt"],
        loss_weight=1.0,
        dim=16,
    )
    x = {"inputs": {f"hit_{field}": torch.rand(3, 20) for field in task.hit_fields}}
    x |= {"hit_valid": torch.ones(3, 20, dtype=torch.bool), "query_embed": torch.randn(3, 2, 16)}
    logits = torch.where(torch.rand(3, 2, 20) > 0.5, 3.0, -6.0)  # far from the threshold
    inputs = (torch.randn(3, 20, 16), logits)
    toward = tuple(torch.randn_like(tensor) for tensor in inputs)

    def parameters(hits, logits):
        return task(x | {"hit_embed": hits}, {"mask": {"track_hit_logit": logits}})["track_regr"]

    _, tangent = jvp(parameters, inputs, toward)
    step = 1e-3
    above, below = (
        parameters(*(value + sign * step * change for value, change in zip(inputs, toward, strict=True)))
        for sign in (1, -1)
    )
    torch.testing.assert_close(tangent, (above - below) / (2 * step), rtol=1e-2, atol=1e-3)
    assert tangent.abs().max() > 0.05
