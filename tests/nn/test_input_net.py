import pytest
import torch

from hitpool.nn import Dense, InputNet, PositionEncoder


def test_net_sees_the_fields_in_their_order_and_the_encoding_is_added() -> None:
    net, posenc = Dense(2, 8), PositionEncoder("hit", 8, fields=["phi"])
    inputs = {f"hit_{name}": torch.randn(3, 4) for name in ("r", "phi", "z")}
    expected = net(torch.stack([inputs["hit_z"], inputs["hit_r"]], dim=-1))
    torch.testing.assert_close(InputNet("hit", ["z", "r"], net)(inputs), expected)
    torch.testing.assert_close(InputNet("hit", ["z", "r"], net, posenc)(inputs), expected + posenc(inputs))


def test_stays_float32_under_autocast() -> None:
    net = InputNet("hit", ["r"], Dense(1, 8))
    inputs = {"hit_r": torch.linspace(6.0, 6.1, 50).view(1, 50)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = net(inputs)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, net(inputs))


def test_net_of_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"net takes 3 features and fields lists 1; set net.input_size to 1"):
        InputNet("hit", ["r"], Dense(3, 8))
