"""weighted_pool inside torch: opcheck, compile, export, TorchScript, autocast."""

import pytest
import torch

import hitpool
from hitpool.ops import reference

SAMPLES = [
    ((3,), 2, 20, 8, torch.float32, True),
    ((3,), 2, 20, 8, torch.float64, False),
    ((), 4, 9, 33, torch.bfloat16, True),
    ((2, 2), 1, 5, 3, torch.float16, True),
    ((2,), 0, 5, 3, torch.float32, True),
    ((2,), 3, 0, 3, torch.float32, True),
    ((0,), 3, 4, 3, torch.float32, False),
    ((2,), 3, 4, 0, torch.float32, True),
]


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_opcheck_forward(make_pool_inputs, sample, requires_grad):
    *shape, dtype, with_valid = sample
    logits, features, valid = make_pool_inputs(*shape, dtype, valid=with_valid)
    logits.requires_grad_(requires_grad)
    features.requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.hitpool.weighted_pool.default, (logits, features, valid), {"threshold": 0.1})
    transposed = features.detach().mT.contiguous().mT.requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.hitpool.weighted_pool.default, (logits, transposed, valid), {"threshold": 0.3})


@pytest.mark.parametrize("sample", SAMPLES)
def test_opcheck_the_ops_behind_the_gradient(make_pool_inputs, sample):
    *shape, dtype, with_valid = sample
    logits, features, valid = make_pool_inputs(*shape, dtype, valid=with_valid)
    forward = torch.ops.hitpool._weighted_pool_for_backward.default
    torch.library.opcheck(forward, (logits, features, valid), {"threshold": 0.1})
    pooled, index, sums = forward(logits, features, valid)
    backward = torch.ops.hitpool._weighted_pool_backward.default
    torch.library.opcheck(backward, (torch.ones_like(pooled), index, sums, logits, features, valid, 0.1))


def test_compiles_as_one_graph_with_changing_sizes(make_pool_inputs):
    compiled = torch.compile(
        lambda a, b, v: hitpool.weighted_pool(a, 2 * b, v).tanh(),
        fullgraph=True,
        dynamic=True,
        backend="aot_eager",
    )
    for shape in (((4,), 2, 30, 8), ((6,), 3, 50, 8), ((2,), 2, 17, 12)):
        logits, features, valid = make_pool_inputs(*shape)
        results = []
        for function in (compiled, lambda a, b, v: reference.weighted_pool(a, 2 * b, v).tanh()):
            a, b = logits.clone().requires_grad_(), features.clone().requires_grad_()
            result = function(a, b, valid)
            result.sum().backward()
            results.append((result, a.grad, b.grad))
        torch.testing.assert_close(*results)


def test_compiles_with_inductor(make_pool_inputs):
    compiled = torch.compile(lambda a, b, v: hitpool.weighted_pool(a, b, v).square().sum(), fullgraph=True)
    logits, features, valid = make_pool_inputs((4,), 2, 30, 8)
    a, b = logits.clone().requires_grad_(), features.clone().requires_grad_()
    compiled(a, b, valid).backward()
    c, d = logits.clone().requires_grad_(), features.clone().requires_grad_()
    reference.weighted_pool(c, d, valid).square().sum().backward()
    torch.testing.assert_close((a.grad, b.grad), (c.grad, d.grad))


def test_exports_with_free_sizes(make_pool_inputs):
    class Pool(torch.nn.Module):
        def forward(self, logits, features, valid):
            return hitpool.weighted_pool(logits, features, valid)

    batch, hits = torch.export.Dim("batch", max=100), torch.export.Dim("hits", max=1000)
    shapes = ({0: batch, 2: hits}, {0: batch, 1: hits}, {0: batch, 1: hits})
    program = torch.export.export(Pool(), make_pool_inputs((4,), 2, 30, 8), dynamic_shapes=shapes)
    assert any(node.target == torch.ops.hitpool.weighted_pool.default for node in program.graph.nodes)
    other = make_pool_inputs((7,), 2, 55, 8, seed=1)
    assert torch.equal(program.module()(*other), hitpool.weighted_pool(*other))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripts_and_trains_in_torchscript(make_pool_inputs):
    @torch.jit.script
    def pool(logits: torch.Tensor, features: torch.Tensor):
        return torch.ops.hitpool.weighted_pool(logits, features, None, threshold=0.2)

    logits, features, _ = make_pool_inputs((4,), 2, 30, 8)
    a, b = logits.clone().requires_grad_(), features.clone().requires_grad_()
    pool(a, b).sum().backward()
    c, d = logits.clone().requires_grad_(), features.clone().requires_grad_()
    hitpool.weighted_pool(c, d, threshold=0.2).sum().backward()
    assert torch.equal(a.grad, c.grad)
    assert torch.equal(b.grad, d.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_runs_in_float32_under_autocast(make_pool_inputs, device, dtype):
    logits, features, valid = make_pool_inputs((2,), 2, 30, 8)
    logits, features = logits.to(dtype).requires_grad_(), features.float().requires_grad_()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        pooled = hitpool.weighted_pool(logits, features, valid)
        low = hitpool.weighted_pool(logits, features.bfloat16(), valid)
    assert pooled.dtype == low.dtype == torch.float32
    torch.testing.assert_close(pooled, hitpool.weighted_pool(logits, features, valid), rtol=1e-6, atol=1e-6)
    pooled.sum().backward()
    assert logits.grad.dtype == dtype
