"""Code that calls the ops as Python functions can be scripted, saved, loaded and trained."""

import pytest
import torch
from torch import Tensor

import hitpool
from hitpool.ops.attention import attention
from hitpool.ops.solenoid_fit import solenoid_fit
from hitpool.ops.toroid_fit import toroid_fit

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class EveryOp(torch.nn.Module):
    def forward(self, logits: Tensor, features: Tensor, valid: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pooled = hitpool.weighted_pool(logits, features, valid, threshold=0.2) + hitpool.weighted_pool(logits, features)
        heads = features.unflatten(-1, (2, 4))
        return pooled, hitpool.pseudorapidity(theta), attention(heads, heads, heads, valid.unsqueeze(1))


def test_a_scripted_module_is_saved_loaded_and_trained(tmp_path):
    logits, features, theta = torch.randn(3, 2, 9), torch.randn(3, 9, 8), torch.linspace(0.1, 3, 5)
    valid = torch.rand(3, 9) > 0.2
    torch.jit.script(EveryOp()).save(tmp_path / "ops.pt")
    results = []
    for module in (torch.jit.load(tmp_path / "ops.pt"), EveryOp()):
        leaves = [x.clone().requires_grad_() for x in (logits, features, theta)]
        outputs = module(leaves[0], leaves[1], valid, leaves[2])
        gradients = torch.autograd.grad(sum(x.sum() for x in outputs), leaves)
        results.append((*outputs, *gradients))
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))


@pytest.mark.parametrize("op", [hitpool.weighted_pool, hitpool.pseudorapidity, attention, toroid_fit, solenoid_fit])
def test_the_functions_themselves_are_scripted(op):
    assert f"hitpool::{op.__name__}" in str(torch.jit.script(op).graph)
