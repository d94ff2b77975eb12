"""Random Fourier features against NumPy."""

import numpy as np
import pytest
import torch

from hitpool.nn import FourierPositionEncoder, InputNet


def test_equals_the_formula() -> None:
    torch.manual_seed(2)
    encoder = FourierPositionEncoder("hit", dim=10, fields=["r", "phi"], scale=0.5)
    inputs = {name: torch.randn(3, 7) for name in ("hit_r", "hit_phi", "hit_z")}
    angle = 2 * np.pi * np.stack([inputs["hit_r"], inputs["hit_phi"]], axis=-1) @ encoder.frequencies.double().numpy()
    expected = np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    np.testing.assert_allclose(encoder(inputs).numpy(), expected, atol=2e-6)


def test_frequencies_have_the_given_spread_and_are_saved() -> None:
    torch.manual_seed(2)
    encoder = FourierPositionEncoder("hit", dim=4000, fields=["r", "z"], scale=0.3)
    assert encoder.frequencies.std().item() == pytest.approx(0.3, rel=0.05)
    assert abs(encoder.frequencies.mean().item()) < 0.02
    assert not list(encoder.parameters())
    other = FourierPositionEncoder("hit", dim=4000, fields=["r", "z"], scale=0.3)
    assert not torch.equal(other.frequencies, encoder.frequencies)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other.frequencies, encoder.frequencies)


def test_padding_and_autocast_have_no_influence() -> None:
    torch.manual_seed(2)
    encoder = FourierPositionEncoder("hit", dim=8, fields=["r"])
    net = InputNet("hit", ["r"], torch.nn.Linear(1, 8), encoder)
    valid = torch.tensor([[True, True, False]])
    one, two = ({"hit_r": torch.tensor([[5.0, 6.0, pad]]), "hit_valid": valid} for pad in (0.0, torch.nan))
    assert torch.equal(net(one), net(two))
    expected = net(one)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net(one), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": []}, "fields is empty"),
        ({"dim": 7}, "dim must be an even number above 0, got 7"),
        ({"dim": 0}, "dim must be an even number above 0, got 0"),
        ({"scale": 0.0}, "scale must be positive, got 0.0"),
    ],
)
def test_wrong_arguments_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FourierPositionEncoder("hit", **({"dim": 8, "fields": ["r"]} | options))


def test_missing_field_is_named() -> None:
    with pytest.raises(KeyError, match=r"hit has no fields \['phi'\]"):
        FourierPositionEncoder("hit", 8, ["r", "phi"])({"hit_r": torch.zeros(1, 2)})
