import math

import pytest
import torch

from hitpool.nn import PositionEncoder


def test_equals_the_formula() -> None:
    encoder = PositionEncoder("hit", 12, fields=["r", "phi"], sym_fields=["phi"], alpha=50.0, base=20.0)
    x = {"hit_r": torch.rand(2, 3) * 9, "hit_phi": torch.rand(2, 3) * 6 - 3}
    encoding = encoder(x)
    assert encoding.shape == (2, 3, 12)
    for event in range(2):
        for hit in range(3):
            expected = []
            for name in ("r", "phi"):
                value = x[f"hit_{name}"][event, hit].item()
                frequencies = [50.0 * 20.0 ** (-k / 2) for k in range(3)]
                if name == "phi":
                    frequencies = [round(f) for f in frequencies]
                expected += [math.sin(f * value) for f in frequencies] + [math.cos(f * value) for f in frequencies]
            torch.testing.assert_close(encoding[event, hit], torch.tensor(expected), atol=2e-5, rtol=0)


@pytest.mark.parametrize("offset", [0.0, 0.3, 2.0])
def test_symmetric_field_has_period_two_pi(offset: float) -> None:
    encoder = PositionEncoder("hit", 32, fields=["phi"], sym_fields=["phi"])
    ends = torch.tensor([[offset - math.pi, offset + math.pi]])
    encoding = encoder({"hit_phi": ends})
    torch.testing.assert_close(encoding[:, 0], encoding[:, 1], atol=1e-4, rtol=0)
    plain = PositionEncoder("hit", 32, fields=["phi"])({"hit_phi": ends})
    assert (plain[:, 0] - plain[:, 1]).abs().max() > 0.1


def test_angles_are_encoded_from_cosine_and_sine_as_symmetric_fields() -> None:
    eta, phi, psi = torch.randn(3, 2, 4)
    phi[0, 0], psi[0, 0] = math.pi, -math.pi
    x = {"hit_eta": eta, "hit_phi": phi, "hit_psi": psi}
    x |= {"hit_cos_phi": phi.cos(), "hit_sin_phi": phi.sin(), "hit_c": psi.cos(), "hit_s": psi.sin()}
    expected = PositionEncoder("hit", 32, fields=["eta", "phi", "psi"], sym_fields=["phi", "psi"])(x)
    encoder = PositionEncoder("hit", 32, fields=["eta"], angles=[("cos_phi", "sin_phi"), ("c", "s")])
    torch.testing.assert_close(encoder(x), expected, atol=1e-4, rtol=0)
    turn = x | {"hit_sin_phi": -x["hit_sin_phi"]}  # at the jump from pi to -pi
    torch.testing.assert_close(encoder(turn)[0, 0], encoder(x)[0, 0], atol=1e-4, rtol=0)


def test_left_over_features_are_zero() -> None:
    encoding = PositionEncoder("hit", 11, fields=["r", "phi"])({"hit_r": torch.ones(1, 4), "hit_phi": torch.ones(1, 4)})
    assert encoding.shape == (1, 4, 11)
    assert not encoding[..., 8:].any()
    assert encoding[..., :8].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 8, "fields": []}, "fields is empty"),
        ({"dim": 8, "fields": ["r"], "sym_fields": ["phi"]}, r"sym_fields \['phi'\] are not among"),
        ({"dim": 3, "fields": ["r", "phi"]}, "2 fields need dim >= 4, got dim = 3"),
        ({"dim": 3, "fields": ["r"], "angles": [("c", "s")]}, "2 fields need dim >= 4, got dim = 3"),
        ({"dim": 8, "fields": ["r"], "base": 0.5}, "base = 0.5"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PositionEncoder("hit", **arguments)


def test_missing_field_is_named() -> None:
    with pytest.raises(KeyError, match=r"hit has no fields \['phi'\].*\['r'\]"):
        PositionEncoder("hit", 8, fields=["r", "phi"])({"hit_r": torch.ones(1, 1)})
