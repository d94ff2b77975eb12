"""Graphs whose sizes depend on data: what tracing cannot decide is checked when the graph runs."""

import pytest
import torch
from torch import Tensor

import hitpool
from hitpool.fits import BoxToroid, Geometry
from hitpool.ops.attention import attention
from hitpool.ops.solenoid_fit import solenoid_fit
from hitpool.ops.toroid_fit import toroid_fit


class PoolSelectedEvents(torch.nn.Module):
    def forward(self, logits: Tensor, features: Tensor, valid: Tensor, events: Tensor, others: Tensor) -> Tensor:
        return hitpool.weighted_pool(logits[events], features[others], valid[others])


class AttendSelectedEvents(torch.nn.Module):
    def forward(self, query: Tensor, key: Tensor, mask: Tensor, events: Tensor, others: Tensor) -> Tensor:
        return attention(query[events], key[others], key[others], mask[others])


class FitSelectedEvents(torch.nn.Module):
    def forward(self, hits: Tensor, logits: Tensor, valid: Tensor, events: Tensor, others: Tensor) -> Tensor:
        numbers = Geometry().numbers(), *BoxToroid().numbers()
        of_tracks, of_hits = toroid_fit(hits[events], logits[others], valid[others], *numbers)
        return torch.cat([of_tracks, of_hits.flatten(2)], dim=-1)


class FitSelectedInSolenoid(torch.nn.Module):
    def forward(self, hits: Tensor, logits: Tensor, valid: Tensor, events: Tensor, others: Tensor) -> Tensor:
        return torch.cat(solenoid_fit(hits[events], logits[others], valid[others], 2.0, 0.015, [1e-3, 0.1]), dim=-1)


class EtaOfSelected(torch.nn.Module):
    def forward(self, theta: Tensor, events: Tensor) -> Tensor:
        return hitpool.pseudorapidity(theta[events])


EVENTS = torch.tensor([True, False, True, True])
CASES = {
    "weighted_pool": (PoolSelectedEvents(), (torch.randn(4, 2, 9), torch.randn(4, 9, 5), torch.rand(4, 9) > 0.2)),
    "attention": (
        AttendSelectedEvents(),
        (torch.randn(4, 5, 2, 4), torch.randn(4, 6, 2, 4), torch.rand(4, 5, 6) > 0.2),
    ),
    "toroid_fit": (
        FitSelectedEvents(),
        (torch.rand(4, 9, 10).double(), torch.randn(4, 2, 9).double(), torch.rand(4, 9) > 0.2),
    ),
    "solenoid_fit": (
        FitSelectedInSolenoid(),
        (torch.rand(4, 9, 11).double(), torch.randn(4, 2, 9).double(), torch.rand(4, 9) > 0.2),
    ),
}


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture
def captured():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        yield


def test_export(case):
    module, inputs = case
    program = torch.export.export(module, (*inputs, EVENTS, EVENTS.clone()))
    for events in (EVENTS, ~EVENTS):
        assert torch.equal(program.module()(*inputs, events, events), module(*inputs, events, events))
    with pytest.raises((RuntimeError, AssertionError)):
        program.module()(*inputs, EVENTS, ~EVENTS)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(case, captured, backend):
    module, inputs = case
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    results = []
    for function in (compiled, module):
        differentiable = not isinstance(module, (FitSelectedEvents, FitSelectedInSolenoid))
        leaves = [x.clone().requires_grad_(differentiable and x.is_floating_point()) for x in inputs]
        result = function(*leaves, EVENTS, EVENTS.clone())
        wanted = [x for x in leaves if x.requires_grad]
        gradients = torch.autograd.grad(result.square().sum(), wanted) if differentiable else ()
        results.append((result, *gradients))
    torch.testing.assert_close(*results)


def test_elementwise(captured):
    theta = torch.linspace(0.1, 3.0, 4)
    program = torch.export.export(EtaOfSelected(), (theta, EVENTS))
    compiled = torch.compile(EtaOfSelected(), fullgraph=True, backend="aot_eager")
    for function in (program.module(), compiled):
        assert torch.equal(function(theta, EVENTS), hitpool.pseudorapidity(theta[EVENTS]))


def test_marked_sizes():
    logits, features = torch.randn(4, 2, 9), torch.randn(4, 9, 5)
    for tensor in (logits, features):
        torch._dynamo.decorators.mark_unbacked(tensor, 0)
    compiled = torch.compile(hitpool.weighted_pool, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(logits, features), hitpool.weighted_pool(logits, features))


def test_a_size_that_cannot_fit_is_an_error_of_tracing():
    class Pool(torch.nn.Module):
        def forward(self, logits: Tensor, features: Tensor, events: Tensor) -> Tensor:
            return hitpool.weighted_pool(logits[events], features[events])

    with pytest.raises(Exception, match=r"expected features with shape \[\.\.\., M, D\]"):
        torch.export.export(Pool(), (torch.randn(4, 2, 9), torch.randn(4, 8, 5), EVENTS))
