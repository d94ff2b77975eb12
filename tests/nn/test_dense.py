from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, relu, silu

from hitpool.nn import Dense


def test_default_is_one_hidden_layer_of_twice_the_input_with_silu() -> None:
    dense = Dense(5, 3)
    first, last = dense[0], dense[2]
    x = torch.randn(4, 7, 5)
    expected = silu(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    assert first.weight.shape == (10, 5)
    assert last.weight.shape == (3, 10)
    torch.testing.assert_close(dense(x), expected)


@pytest.mark.parametrize("hidden", [[], [8], [8, 6, 4]])
def test_hidden_layers_are_the_given_widths(hidden: list[int]) -> None:
    linear = [module for module in Dense(5, 3, hidden_layers=hidden) if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in linear] == [*hidden, 3]


def test_norm_precedes_every_linear_layer() -> None:
    kinds = [type(module) for module in Dense(5, 3, hidden_layers=[8], norm=True, dropout=0.5)]
    assert kinds == [nn.LayerNorm, nn.Linear, nn.SiLU, nn.Dropout, nn.LayerNorm, nn.Linear]


def test_norm_of_hidden_features_stands_behind_the_activation() -> None:
    kinds = [type(module) for module in Dense(5, 3, hidden_layers=[8], norm="hidden", dropout=0.5)]
    assert kinds == [nn.Linear, nn.SiLU, nn.LayerNorm, nn.Dropout, nn.Linear]


@pytest.mark.parametrize(("activation", "function"), [("silu", silu), ("relu", relu), ("gelu", gelu)])
def test_activation_is_the_named_one(activation: str, function: Callable) -> None:
    dense, x = Dense(5, 3, activation=activation), torch.randn(4, 5)
    torch.testing.assert_close(dense(x), dense[2](function(dense[0](x))))


def test_swiglu_doubles_hidden_widths_for_the_gate() -> None:
    dense, x = Dense(5, 3, hidden_layers=[8, 6], activation="swiglu"), torch.randn(4, 5, dtype=torch.float64)
    shapes = [tuple(layer.weight.shape) for layer in dense if isinstance(layer, nn.Linear)]
    assert shapes == [(16, 5), (12, 8), (3, 6)]
    expected = x
    for layer, width in ((dense.double()[0], 8), (dense[2], 6)):
        hidden = layer(expected)
        gate = hidden[:, width:]
        expected = hidden[:, :width] * gate / (1 + torch.exp(-gate))
    torch.testing.assert_close(dense(x), dense.last(expected))


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="activation tanh does not exist; choose from silu, relu, gelu, swiglu"):
        Dense(5, 3, activation="tanh")


@pytest.mark.parametrize("norm", ["before", 1, None])
def test_unknown_norm_is_refused(norm: object) -> None:
    with pytest.raises(ValueError, match=f"norm must be true, false or hidden, got {norm}"):
        Dense(5, 3, norm=norm)


def test_zero_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one feature, got widths \[5, 0, 3\]"):
        Dense(5, 3, hidden_layers=[0])
