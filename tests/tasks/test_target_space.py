import math

import pytest
import torch

from hitpool.nn.angle import wrap_angle
from hitpool.tasks.target_space import TargetSpace

PI = math.pi


def test_wrap_angle() -> None:
    angle = torch.linspace(-20, 20, 1001, dtype=torch.float64)
    expected = torch.atan2(angle.sin(), angle.cos())
    torch.testing.assert_close(wrap_angle(angle), expected, atol=1e-12, rtol=0)
    ends = wrap_angle(torch.tensor([PI, -PI, 3 * PI], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.full((3,), PI, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (wrap_angle(torch.tensor([-PI])) > 0).all()


@pytest.mark.parametrize("standardize", [False, {"pt": (0.05, 0.04), "phi": (0.1, 1.8), "eta": (-0.2, 1.4)}])
def test_decode_inverts_encode(standardize) -> None:
    space = TargetSpace(["eta", "phi", "pt"], inverse_fields=["pt"], periodic_fields=["phi"], standardize=standardize)
    physical = torch.stack(
        [torch.linspace(-2.7, 2.7, 50), torch.linspace(-3.14, 3.14, 50), torch.linspace(1, 1000, 50)], dim=-1
    )
    torch.testing.assert_close(space.decode(space.encode(physical)), physical, atol=1e-6, rtol=1e-3)


def test_encode_equals_the_formula() -> None:
    space = TargetSpace(["eta", "pt"], inverse_fields=["pt"], standardize={"pt": (0.05, 0.04), "eta": (0.5, 2.0)})
    expected = torch.tensor([(1.5 - 0.5) / 2.0, (1 / 20 - 0.05) / 0.04])
    torch.testing.assert_close(space.encode(torch.tensor([1.5, 20.0])), expected)


@pytest.mark.parametrize("learned", [-100.0, -1.0, -1e-9, 0.0, 1e-9, 1e9])
def test_predictions_stay_in_their_range(learned: float) -> None:
    default = TargetSpace(["pt"], inverse_fields=["pt"]).decode(torch.tensor([learned])).item()
    assert 1e-3 * (1 - 1e-6) <= default <= 1e5 * (1 + 1e-6)
    space = TargetSpace(["eta", "pt"], inverse_fields=["pt"], prediction_range={"pt": (5, 200), "eta": (-2.7, 2.7)})
    eta, pt = space.decode(torch.tensor([learned, learned])).tolist()
    assert pt == pytest.approx(5.0 if learned > 1 else 200.0)
    assert eta == pytest.approx(max(-2.7, min(2.7, learned)))


def test_nan_is_not_hidden() -> None:
    space = TargetSpace(["eta", "phi", "pt", "q"], ["pt"], ["phi"], ["q"], {"eta": (-3, 3)})
    assert space.decode(torch.full((4,), math.nan)).isnan().all()


def test_difference_goes_the_shorter_way_round() -> None:
    space = TargetSpace(["phi", "eta"], periodic_fields=["phi"], standardize={"phi": (0.3, 1.8), "eta": (0.0, 2.0)})
    pred, true = torch.tensor([3.1, 3.1]), torch.tensor([-3.1, -3.1])
    difference = space.difference(space.encode(pred), space.encode(true))
    torch.testing.assert_close(difference, torch.tensor([(6.2 - 2 * PI) / 1.8, 3.1]), atol=1e-6, rtol=1e-5)
    far = space.difference(space.encode(pred + 6 * PI), space.encode(true))
    torch.testing.assert_close(far[0], difference[0], atol=1e-5, rtol=1e-5)


def test_fit_takes_mean_and_spread_of_what_is_learned() -> None:
    generator = torch.Generator().manual_seed(0)
    values = {
        "eta": torch.randn(1000, generator=generator) * 1.4 + 0.2,
        "pt": 5 + 195 * torch.rand(1000, generator=generator),
        "q": torch.ones(1000),
        "constant": torch.full((1000,), 3.25),
    }
    space = TargetSpace(["eta", "pt", "q", "constant"], inverse_fields=["pt"], sign_fields=["q"], standardize=True)
    assert space.encode(torch.ones(4)).isnan().tolist() == [True, True, False, True]
    space.fit(values)
    learned = space.encode(torch.stack(list(values.values()), dim=-1)).double()
    torch.testing.assert_close(learned[:, :2].mean(0), torch.zeros(2).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(learned[:, :2].std(0, correction=0), torch.ones(2).double(), atol=1e-5, rtol=0)
    assert (learned[:, 2] == 1).all()
    assert (learned[:, 3] == 0).all()


@pytest.mark.parametrize("standardize", [False, {"eta": (0.0, 1.5)}])
def test_fit_leaves_given_numbers_alone(standardize) -> None:
    space = TargetSpace(["eta"], standardize=standardize)
    before = space.spread.clone()
    space.fit({})
    assert torch.equal(space.spread, before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"eta": torch.ones(3)}, "no values of pt"),
        ({"pt": torch.ones(0)}, "pt needs values, got none: the events have no true particle"),
        ({"pt": torch.tensor([1.0, math.nan])}, "pt needs finite values, got 2"),
        ({"pt": torch.tensor([1.0, 0.0])}, "inverse field pt has value 0"),
    ],
)
def test_fit_names_bad_values(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetSpace(["pt"], inverse_fields=["pt"], standardize=True).fit(values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inverse_fields": ["pT"]}, r"inverse_fields names \['pT'\], which are not among fields"),
        ({"standardize": {"pT": (0.0, 1.0)}}, "standardize names"),
        ({"prediction_range": {"pT": (0.0, 1.0)}}, "prediction_range names"),
        ({"inverse_fields": ["pt"], "sign_fields": ["pt"]}, "field pt is in inverse_fields and sign_fields"),
        (
            {"prediction_range": {"eta": (2.0, 1.0)}},
            r"prediction_range of eta must be \[low, high\], got \[2.0, 1.0\]",
        ),
        ({"inverse_fields": ["pt"], "prediction_range": {"pt": (0.0, 9.0)}}, "must be positive and finite"),
        ({"standardize": {"pt": (0.0, 0.0)}}, "needs a spread above 0"),
    ],
)
def test_contradictions_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetSpace(["eta", "pt"], **options)
    with pytest.raises(ValueError, match="one or more different names"):
        TargetSpace(["eta", "eta"])
