"""Functions that onnxruntime lacks, or has for float32 only, made of others."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hitpool.export.recording.recorder import Function, RecordError

_CASTS = {torch.float32: "float", torch.float64: "double", torch.int64: "long", torch.int32: "int", torch.bool: "bool"}


def to(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    given = [*args, *kwargs.values()]
    dtypes = [arg.dtype if isinstance(arg, Tensor) else arg for arg in given]
    dtype = next((dtype for dtype in dtypes if isinstance(dtype, torch.dtype)), x.dtype)
    return x if dtype == x.dtype else getattr(x, _CASTS[dtype])()


def clamp(x: Tensor, min: float | Tensor | None = None, max: float | Tensor | None = None) -> Tensor:
    if min is not None:
        x = torch.maximum(x, min if isinstance(min, Tensor) else torch.tensor(min, dtype=x.dtype))
    if max is not None:
        x = torch.minimum(x, max if isinstance(max, Tensor) else torch.tensor(max, dtype=x.dtype))
    return x


def remainder(x: Tensor, divisor: float | Tensor) -> Tensor:
    divisor = divisor if isinstance(divisor, Tensor) else torch.tensor(divisor, dtype=x.dtype)
    rest = torch.fmod(x, divisor)
    return torch.where((rest != 0) & ((rest < 0) != (divisor < 0)), rest + divisor, rest)


def nan_to_num(x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    largest = torch.finfo(x.dtype).max
    x = torch.where(x.isnan(), nan, x)
    x = torch.where(x == math.inf, largest if posinf is None else posinf, x)
    return torch.where(x == -math.inf, -largest if neginf is None else neginf, x)


def _arc_of_slope(slope: Tensor) -> Tensor:
    """Arc tangent of numbers from 0 to 1, to float64: that of float32, and what is missing to the slope."""
    arc = slope.float().arctan().double()
    cos, sin = arc.cos(), arc.sin()
    return arc + (slope * cos - sin) / (cos + slope * sin)


def _is_negative(x: Tensor) -> Tensor:
    """Whether there is a minus sign, that of -0 too."""
    return (x < 0) | (x.reciprocal() < 0)


def atan2(y: Tensor, x: Tensor) -> Tensor:
    """Angle of a vector, to a unit or two in the last place of float64, rounded to the type of the arguments."""
    dtype = y.dtype
    y, x = y.double(), x.double()
    height, width = y.abs(), x.abs()
    longer, shorter = torch.maximum(height, width), torch.minimum(height, width)
    arc = _arc_of_slope(torch.where(shorter == longer, (longer > 0).double(), shorter / longer))
    arc = torch.where(y.isnan() | x.isnan(), math.nan, arc)
    arc = torch.where(height > width, math.pi / 2 - arc, arc)
    arc = torch.where(_is_negative(x), math.pi - arc, arc)
    return (arc * torch.where(_is_negative(y), -1.0, 1.0)).to(dtype)  # onnxruntime's negative of 0 is 0


def atan(x: Tensor) -> Tensor:
    return atan2(x, torch.ones((), dtype=x.dtype))


def asin(x: Tensor) -> Tensor:
    wide = x.double()
    return atan2(wide, ((1 - wide) * (1 + wide)).sqrt()).to(x.dtype)


def acos(x: Tensor) -> Tensor:
    wide = x.double()
    return atan2(((1 - wide) * (1 + wide)).sqrt(), wide).to(x.dtype)


def log1p(x: Tensor) -> Tensor:
    """Kahan's: the rounding of 1 + x is the same in numerator and denominator."""
    grown = 1 + x
    near = grown == 1
    slope = x / torch.where(near, 1.0, grown - 1)
    return torch.where(near, x, torch.where(x.isinf(), x, grown.log() * slope))


def softplus(x: Tensor) -> Tensor:
    return clamp(x, min=0.0) + log1p((-x.abs()).exp())


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate != "none" or x.dtype != torch.float32:
        raise RecordError("gelu can be recorded in float32 and without approximation only")
    return x * (0.5 + 0.5 * (x * math.sqrt(0.5)).erf())


def asinh(x: Tensor) -> Tensor:
    size = x.abs()
    small = clamp(size, max=1e8)
    value = log1p(small + small.square() / (1 + (1 + small.square()).sqrt()))
    value = torch.where(size > 1e8, size.log() + math.log(2), value)
    return torch.where(x < 0, -value, value)


def sinc(x: Tensor) -> Tensor:
    zero = x == 0
    turned = torch.where(zero, 1.0, x) * math.pi
    return torch.where(zero, 1.0, turned.sin() / turned)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    sizes, start, end = list(x.shape), start_dim % x.dim(), end_dim % x.dim() + 1
    return x.reshape([*sizes[:start], math.prod(sizes[start:end]), *sizes[end:]])


def vector_norm(x: Tensor, ord: float = 2, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
    if ord != 2 or dim is None:
        raise NotImplementedError("only Euclidean norms along dimensions can be recorded")
    return x.square().sum(dim, keepdim=keepdim).sqrt()


def normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    return x / clamp(vector_norm(x, p, dim, keepdim=True), min=eps)


def cross(a: Tensor, b: Tensor, *, dim: int = -1) -> Tensor:
    (ax, ay, az), (bx, by, bz) = a.unbind(dim), b.unbind(dim)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], dim=dim)


def searchsorted(grid: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    wide = values.unsqueeze(-1)
    return (wide >= grid if right else wide > grid).sum(-1)


COMPOSITES: dict[str, Function] = {
    "to": to,
    "type_as": to,
    "new_tensor": lambda like, data: torch.tensor(data, dtype=like.dtype),
    "iter": lambda x: iter(x.unbind(0)),
    **dict.fromkeys(("clamp", "clip"), clamp),
    "clamp_min": lambda x, min: clamp(x, min=min),
    "clamp_max": lambda x, max: clamp(x, max=max),
    **dict.fromkeys(("remainder", "mod"), remainder),
    "nan_to_num": nan_to_num,
    "isfinite": lambda x: ~(x.isnan() | x.isinf()),
    "masked_fill": lambda x, mask, value: torch.where(mask, torch.as_tensor(value, dtype=x.dtype), x),
    "square": lambda x: x * x,
    "rsqrt": lambda x: x.sqrt().reciprocal(),
    "tan": lambda x: x.sin() / x.cos(),
    "hypot": lambda x, y: (x * x + y * y).sqrt(),
    "atan2": atan2,
    "atan": atan,
    "asin": asin,
    "acos": acos,
    "asinh": asinh,
    "cosh": lambda x: 0.5 * (x.exp() + (-x).exp()),
    "gelu": gelu,
    "softplus": softplus,
    "log1p": log1p,
    "sinc": sinc,
    "flatten": flatten,
    "linalg_vector_norm": vector_norm,
    "normalize": normalize,
    "linalg_cross": cross,
    "searchsorted": searchsorted,
}
