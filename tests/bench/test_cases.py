import pytest
import torch

from hitpool.bench.cases import SHAPES, THRESHOLD, Case, make_cases, make_inputs


def test_names_and_sizes():
    cases = make_cases(["main", "hllhc", "3,2,50,8"], [0.1, 0.2], ["float32", "bfloat16"])
    assert [case.shape for case in cases if case.selected == 0.2 and case.dtype == "float32"] == [
        (200, 2, 600, 32),
        (200, 2, 60, 32),
        (32, 2, 600, 128),
        (8, 64, 3000, 64),
        (1, 2, 600, 32),
        (3, 2, 50, 8),
    ]
    (whole,) = (case for case in cases if case.name == "hllhc")
    assert (whole.shape, whole.selected, whole.backward) == ((1, 2000, 60000, 32), 0.0005, False)
    assert {case.name for case in cases if case.dtype == "bfloat16"} == {"training", "wide", "3,2,50,8"}
    assert {case.name for case in make_cases(["all"], [0.2], ["float64"])} == set(SHAPES)


@pytest.mark.parametrize(
    ("shapes", "selected", "dtypes", "message"),
    [
        (["large"], [0.2], ["float32"], "--shapes large: expected main, all, training"),
        (["1,2,3"], [0.2], ["float32"], "--shapes 1,2,3: expected .* B,N,M,D"),
        (["1,2,0,4"], [0.2], ["float32"], "--shapes 1,2,0,4: expected .* at least 1"),
        (["main"], [1.5], ["float32"], "--selected 1.5: expected a share"),
        (["main"], [0.2], ["int8"], "--dtype int8: expected one of float64"),
    ],
)
def test_what_does_not_exist_is_named(shapes, selected, dtypes, message):
    with pytest.raises(ValueError, match=message):
        make_cases(shapes, selected, dtypes)


@pytest.mark.parametrize("selected", [0.0005, 0.1, 0.2])
def test_the_share_of_hits_is_selected(selected):
    case = Case("", 10, 10, 2000, 3, selected)
    logits, features, valid = make_inputs(case)
    chosen = (logits.sigmoid() >= THRESHOLD) & valid.unsqueeze(-2)  # [B, N, M]
    assert chosen.double().mean() == pytest.approx(selected, rel=0.15)
    assert (logits - torch.logit(torch.tensor(THRESHOLD))).abs().min() > 0.9e-3
    assert all(torch.equal(*pair) for pair in zip(make_inputs(case), (logits, features, valid), strict=True))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_inputs_have_the_dtype(dtype):
    logits, features, valid = make_inputs(Case("", 2, 3, 5, 4, dtype=dtype))
    assert str(logits.dtype) == str(features.dtype) == f"torch.{dtype}"
    assert (logits.shape, features.shape, valid.shape) == ((2, 3, 5), (2, 5, 4), (2, 5))
