"""Each function of PyTorch that is recorded gives as ONNX what it gives in PyTorch."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitpool.export.recording import EVENTS, HITS, RecordError

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-9, -1e-9, 3.0, -3.0, 1e6, -1e6, math.inf, -math.inf, math.nan]


def numbers(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.cat([torch.tensor(SPECIAL), 2 * torch.randn(100, generator=generator)]).to(dtype)


UNARY = {
    "abs": torch.abs,
    "acos": lambda x: torch.acos(x.clamp(-1, 1)),
    "asin": lambda x: torch.asin(x.clamp(-1, 1)),
    "asinh": torch.asinh,
    "atan": torch.atan,
    "ceil": torch.ceil,
    "clamp": lambda x: x.clamp(-1, max=2.5),
    "clamp_min": lambda x: x.clamp_min(0.25),
    "cos": lambda x: torch.cos(x.clamp(-4, 4)),
    "cosh": lambda x: torch.cosh(x.clamp(-20, 20)),
    "exp": torch.exp,
    "floor": torch.floor,
    "gelu": lambda x: F.gelu(x.float().clamp(-50, 50)),
    "isfinite": torch.isfinite,
    "log": torch.log,
    "log1p": lambda x: torch.log1p(x.abs()),
    "nan_to_num": lambda x: x.nan_to_num(),
    "neg": lambda x: -x,
    "pow": lambda x: x**3 + x.abs().pow(1.5) + 2.0 ** x.clamp(-3, 3),
    "reciprocal": torch.reciprocal,
    "remainder": lambda x: torch.remainder(x, 2 * math.pi),
    "reverse": lambda x: 1 - 2 / x + 3 * x,
    "round": torch.round,
    "rsqrt": torch.rsqrt,
    "sigmoid": torch.sigmoid,
    "sign": lambda x: torch.sign(x.nan_to_num()),
    "silu": F.silu,
    "sin": lambda x: torch.sin(x.clamp(-4, 4)),
    "sinc": lambda x: torch.sinc(x.clamp(-4, 4)),
    "softplus": F.softplus,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": lambda x: torch.tan(x.clamp(-1.5, 1.5)),
    "tanh": torch.tanh,
    "to": lambda x: x.nan_to_num(0.0, 9.0, -9.0).to(torch.int64).to(dtype=torch.float32) + x.new_tensor([1.5]),
}
RELATIVE = {
    "cosh": 8,
    "tan": 8,
    "asinh": 4,
    "log1p": 4,
    "rsqrt": 4,
    "softplus": 4,
    "pow": 16,
    "remainder": 16,
}  # units in the last place
ABSOLUTE = {"cos": 1, "gelu": 8, "sigmoid": 1, "silu": 4, "sin": 1, "sinc": 1, "tan": 4}  # of 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_number(as_onnx, name: str, dtype: torch.dtype) -> None:
    x = numbers(dtype)
    expected = UNARY[name](x)
    got = as_onnx(UNARY[name], [x])(x)
    assert got.dtype == expected.dtype
    if not expected.dtype.is_floating_point:
        assert torch.equal(got, expected)
        return
    eps = torch.finfo(expected.dtype).eps
    limits = {"rtol": RELATIVE.get(name, 2) * eps, "atol": ABSOLUTE.get(name, 0) * eps}
    torch.testing.assert_close(got, expected, **limits, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_of_all_directions(as_onnx, dtype: torch.dtype) -> None:
    """Along the axes with either sign of 0 too; NaN where one of both is NaN."""
    values = torch.cat([torch.tensor(SPECIAL), torch.randn(40, generator=torch.Generator().manual_seed(2))]).to(dtype)
    y, x = (tensor.flatten() for tensor in torch.meshgrid(values, values, indexing="ij"))
    got, expected = as_onnx(torch.atan2, [y, x])(y, x), torch.atan2(y, x)
    torch.testing.assert_close(got, expected, rtol=2 * torch.finfo(dtype).eps, atol=0, equal_nan=True)
    known = ~expected.isnan()
    assert torch.equal(torch.signbit(got[known]), torch.signbit(expected[known]))


BINARY = {
    "arithmetic": lambda a, b: (a + b) * a - a / b,
    "comparisons": lambda a, b: torch.stack([a < b, a <= b, a > b, a >= b, a == b, a != b, a > 0.5]),
    "extrema": lambda a, b: torch.maximum(a, b) + 2 * torch.minimum(a, b),
    "hypot": lambda a, b: torch.hypot(a.nan_to_num(0, 1, 1), b.nan_to_num(0, 1, 1)),
    "logic": lambda a, b: torch.stack([(a > 0) & (b > 0), (a > 0) | (b > 0), ~(a > 0), (a > 0) & ~b.isnan()]),
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 7.0),
    "mixed types": lambda a, b: a.float() + b + (a > 0) * 2,
    "where": lambda a, b: torch.where(a > b, a, 1.0) + torch.where(a > b, 0.5, b),
    "where of bool": lambda a, b: torch.where(a > b, a > 0, b > 0),
}


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_numbers(as_onnx, name: str) -> None:
    a = numbers()
    b = a.roll(3).contiguous()
    got, expected = as_onnx(BINARY[name], [a, b])(a, b), BINARY[name](a, b)
    assert got.dtype == expected.dtype
    torch.testing.assert_close(got, expected, rtol=1e-15, atol=0, equal_nan=True)


LAYOUT = {  # of x [B, M, 6] and y [B, M]
    "argmax": lambda x, y: (x.argmax(dim=-1), x.argmax(dim=-1, keepdim=True)),
    "argmin": lambda x, y: (x.argmin(dim=-1), x.argmin(dim=-1, keepdim=True)),
    "argsort": lambda x, y: x.argsort(dim=-1),
    "cat": lambda x, y: torch.cat([x, y.unsqueeze(-1)], dim=-1),
    "counts": lambda x, y: ((x > 0).any(-1), (x > 0).all(-1, keepdim=True), (x > 0).sum(-1)),
    "cumsum": lambda x, y: x.cumsum(dim=-1),
    "diag": lambda x, y: x.unflatten(-1, (2, 3))[..., :2].diagonal(dim1=-2, dim2=-1).diag_embed(),
    "expand": lambda x, y: (y.unsqueeze(-1).expand_as(x), torch.ones(6).expand(x.shape[0], x.shape[1], -1)),
    "filled": lambda x, y: torch.ones_like(x) + x.new_zeros(6) + torch.full_like(x, 3) + x.new_full((*y.shape, 1), 2),
    "flatten": lambda x, y: (x.flatten(0, 1), x.unflatten(-1, (2, 3)).flatten(-2)),
    "flip": lambda x, y: (x.flip(-1), y.flip(-1)),
    "gather": lambda x, y: x.gather(-1, x.argsort(dim=-1)[..., :2]),
    "index": lambda x, y: (x[..., 1], x[:, None, :, 2:4], x[..., -2:], x[..., ::2], x[0:, ..., None, 0]),
    "index by tensors": lambda x, y: (
        torch.arange(6.0)[(x > 0).long()],
        x.index_select(-1, torch.tensor([4, 1])),
        torch.arange(6.0).take((x > 0).long() + 1),
        torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0]).double(), x, right=True),
    ),
    "layer_norm": lambda x, y: F.layer_norm(x, (6,), torch.arange(6.0).double(), torch.ones(6).double()),
    "linear": lambda x, y: F.linear(x, torch.arange(12.0).view(2, 6).double(), torch.ones(2).double()),
    "matmul": lambda x, y: (x @ x.mT, (y.unsqueeze(1) @ x).squeeze(1)),
    "mean": lambda x, y: (x.mean(-1), x.mean(-1, keepdim=True)),
    "movedim": lambda x, y: (x.movedim(-1, 0), x.transpose(0, 1), x.permute(2, 0, 1)),
    "normalize": lambda x, y: (F.normalize(x, dim=-1), torch.linalg.vector_norm(x, dim=-1, keepdim=True)),
    "pad": lambda x, y: F.pad(x, (1, 2), value=-torch.inf),
    "repeat": lambda x, y: x.repeat(1, 1, 2),
    "rms_norm": lambda x, y: F.rms_norm(x, (6,), torch.arange(6.0).double()),
    "scatter": lambda x, y: x.new_zeros(*y.shape, 7).scatter(-1, x.argsort(dim=-1), x),
    "softmax": lambda x, y: x.softmax(-1),
    "split": lambda x, y: (*x.split([1, 3, 2], dim=-1), *x.split(3, dim=-1), *x.chunk(2, dim=-1)),
    "stack": lambda x, y: (torch.stack([y, 2 * y], dim=-1), torch.stack([y, 2 * y], dim=-1)[..., 1]),
    "sum": lambda x, y: (x.sum(-1), x.sum(1), x.sum(1, keepdim=True)),
    "topk": lambda x, y: (*x.topk(3, dim=-1), x.topk(2, dim=-1).values),
    "unbind": lambda x, y: (*x.unbind(-1), *x.unflatten(-1, (3, 2)).unbind(-2)),
    "in place": lambda x, y: x.clone().clamp_(min=0.5),
    "sizes": lambda x, y: y[..., : x.shape[1]] + y.new_zeros(x.shape[1] + 1, x.shape[0])[: x.shape[1]].mT,
}


@pytest.mark.parametrize("name", LAYOUT)
def test_what_arranges_numbers(as_onnx, name: str) -> None:
    """With any number of events and hits, 0 too."""
    generator = torch.Generator().manual_seed(3)
    function = LAYOUT[name]
    example = torch.zeros(3, 7, 6).double(), torch.zeros(3, 7).double()
    run = as_onnx(function, example, {3: EVENTS, 7: HITS})
    for events, hits in ((3, 7), (1, 1), (2, 0), (0, 4)):
        x = torch.randn(events, hits, 6, generator=generator).double()
        y = torch.randn(events, hits, generator=generator).double()
        got, expected = run(x, y), function(x, y)
        pairs = [(got, expected)] if isinstance(expected, Tensor) else zip(got, expected, strict=True)
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 13])
def test_linear_algebra_of_small_matrices(as_onnx, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    root = torch.randn(5, size, size, generator=generator, dtype=torch.float64)
    matrix, vector = root @ root.mT + 0.1 * torch.eye(size).double(), torch.randn(5, size, generator=generator).double()

    def function(matrix: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        lower = torch.linalg.cholesky_ex(matrix)[0]
        return (
            torch.linalg.solve_ex(matrix, vector)[0],
            torch.linalg.solve_ex(matrix, vector.unsqueeze(-1))[0],
            torch.linalg.inv_ex(matrix)[0],
            lower,
            torch.linalg.solve_triangular(lower, vector.unsqueeze(-1), upper=False),
        )

    run = as_onnx(function, [matrix, vector], {5: EVENTS})
    for got, expected in zip(run(matrix, vector), function(matrix, vector), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    assert [len(result) for result in run(matrix[:0], vector[:0])] == [0] * 5


def test_cross_products(as_onnx) -> None:
    a, b = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(as_onnx(torch.linalg.cross, [a, b])(a, b), torch.linalg.cross(a, b))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x if x.sum() > 0 else -x, "the value of a tensor"),
        (lambda x: x * x.sum().item(), "the value of a tensor"),
        (lambda x: F.gelu(x.double()), "gelu can be recorded in float32"),
        (lambda x: torch.erfinv(x), "erfinv of PyTorch is not known"),
        (lambda x: x[x > 0], "__getitem__ with these arguments cannot be recorded"),
        (lambda x: F.dropout(x, 0.5, training=True), "dropout in training"),
        (lambda x: torch.linalg.solve_triangular(x, x, upper=False), "cholesky_ex only"),
    ],
)
def test_what_cannot_be_recorded_is_named(as_onnx, function, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        as_onnx(function, [torch.rand(3, 3)])
