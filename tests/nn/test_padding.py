"""What padded hits hold has no influence: outputs, loss and gradients are those of padding with zeros, bit by bit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hitpool.fits import HelixFit
from hitpool.nn import Dense, Encoder, InputNet, MaskFormer, PositionEncoder

JUNK = [torch.nan, torch.inf, -torch.inf, 1e30]


def filled(values: dict[str, Tensor], junk: float) -> dict[str, Tensor]:
    """The same inputs with this number in all padded places."""
    valid = values["hit_valid"]
    return {name: value if value is valid else value.masked_fill(~valid, junk) for name, value in values.items()}


def trained(model: MaskFormer, inputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs, losses and gradients of one step, by name."""
    model.zero_grad()
    leaves = {name: value if name == "hit_valid" else value.clone().requires_grad_() for name, value in inputs.items()}
    outputs = model.match(model(leaves), targets)
    losses = model.loss(outputs, targets)
    results = {
        f"{kind} {layer} {task} {name}": value.detach()
        for kind, layers in (("output", outputs), ("loss", losses))
        for layer, tasks in layers.items()
        for task, values in tasks.items()
        for name, value in values.items()
    }
    sum(value for tasks in losses.values() for terms in tasks.values() for value in terms.values()).backward()
    results |= {f"gradient of {name}": value.grad for name, value in model.named_parameters()}
    return results | {f"gradient of {name}": leaves[name].grad for name in leaves if name != "hit_valid"}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("autocast", [False, True])
def test_model(build: Callable, tasks: Callable, batch: Callable, junk: float, autocast: bool) -> None:
    fit = HelixFit(hit_fields=["theta"], field=2.0)
    model = build(tasks=tasks(track_fit=fit, has_intermediate_loss=True, cost_weight=1.0))
    inputs, targets = batch([12, 3, 0, 7], [2, 1, 0, 2], size=15)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        expected = trained(model, filled(inputs, 0.0), targets)
        found = trained(model, filled(inputs, junk), targets)
    assert any("precision.0.weight" in name for name in expected)
    for name, value in expected.items():
        assert value is None or value.isfinite().all(), name
        assert (value is None and found[name] is None) or torch.equal(found[name], value), name


def gradients(module: nn.Module, result: Tensor) -> list[Tensor]:
    module.zero_grad()
    result.square().sum().backward()
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("junk", JUNK)
def test_each_network_alone(junk: float) -> None:
    torch.manual_seed(2)
    valid = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    padded = ~valid.unsqueeze(-1)
    fields, embed = torch.randn(2, 3, 3), torch.randn(3, 3, 8)
    posenc = PositionEncoder("hit", 8, fields=["r", "phi"], sym_fields=["phi"])
    net, encoder = InputNet("hit", ["phi", "r"], Dense(2, 8), posenc), Encoder(2, 8, num_heads=2)

    def results(number: float) -> list[list[Tensor]]:
        r, phi = fields.masked_fill(~valid, number)
        inputs = {"hit_r": r, "hit_phi": phi, "hit_valid": valid}
        hits = embed.masked_fill(padded, number)
        runs = [(net, net(inputs)), (posenc, posenc(inputs)), (encoder, encoder(hits, valid).masked_fill(padded, 0))]
        return [[result, *gradients(module, result)] if result.requires_grad else [result] for module, result in runs]

    for expected, found in zip(results(0.0), results(junk), strict=True):
        assert all(value.isfinite().all() for value in expected)
        assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
