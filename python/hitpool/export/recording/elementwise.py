"""Functions of PyTorch that act on each number, and sums, as ONNX nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hitpool.export.recording.recorder import Function, Recorder, RecordError


def _unary(kind: str) -> Function:
    def record(recorder: Recorder, out: Tensor, x: Tensor, **_: Any) -> str:
        return recorder.graph.node(kind, recorder.value(x, out.dtype))

    return record


def _test(kind: str) -> Function:
    def record(recorder: Recorder, out: Tensor, x: Tensor) -> str:
        return recorder.graph.node(kind, recorder.value(x))

    return record


def _binary(kind: str, swap: bool = False, **attributes: int) -> Function:
    def record(recorder: Recorder, out: Tensor, a: Any, b: Any) -> str:
        a, b = (b, a) if swap else (a, b)
        return recorder.graph.node(kind, recorder.value(a, out.dtype), recorder.value(b, out.dtype), **attributes)

    return record


def _comparison(kind: str, negated: bool = False) -> Function:
    def record(recorder: Recorder, out: Tensor, a: Any, b: Any) -> str:
        dtype = torch.result_type(a, b)
        if dtype == torch.bool and kind != "Equal":
            dtype = torch.int32
        result = recorder.graph.node(kind, recorder.value(a, dtype), recorder.value(b, dtype))
        return recorder.graph.node("Not", result) if negated else result

    return record


def _logic(kind: str) -> Function:
    def record(recorder: Recorder, out: Tensor, a: Any, b: Any) -> str:
        if out.dtype != torch.bool:
            raise RecordError(f"{kind} of integers cannot be recorded")
        return recorder.graph.node(kind, recorder.value(a, out.dtype), recorder.value(b, out.dtype))

    return record


def _where(recorder: Recorder, out: Tensor, condition: Tensor, a: Any, b: Any) -> str:
    graph, first = recorder.graph, recorder.value(condition)
    one, other = recorder.value(a, out.dtype), recorder.value(b, out.dtype)
    if out.dtype != torch.bool:
        return graph.node("Where", first, one, other)
    chosen = graph.node("And", first, one)  # onnxruntime has no Where of bool
    return graph.node("Or", chosen, graph.node("And", graph.node("Not", first), other))


def _cast(dtype: torch.dtype) -> Function:
    return lambda recorder, out, x: recorder.value(x, dtype)


def _same(recorder: Recorder, out: Tensor, x: Tensor, **_: Any) -> str:
    return recorder.value(x)


def _axes(recorder: Recorder, x: Tensor, dim: int | tuple[int, ...] | None) -> str:
    if dim is None:
        return recorder.ints(range(x.dim()))
    return recorder.ints([dim] if isinstance(dim, int) else dim)


def _reduction(kind: str) -> Function:
    def record(
        recorder: Recorder,
        out: Tensor,
        x: Tensor,
        dim: int | tuple[int, ...] | None = None,
        keepdim: bool = False,
        dtype: torch.dtype | None = None,
    ) -> str:
        return recorder.graph.node(kind, recorder.value(x, out.dtype), _axes(recorder, x, dim), keepdims=int(keepdim))

    return record


def _any(recorder: Recorder, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
    number = recorder.graph.cast(recorder.value(x, torch.bool), torch.int32)
    total = recorder.graph.node("ReduceSum", number, _axes(recorder, x, dim), keepdims=int(keepdim))
    return recorder.graph.node("Greater", total, recorder.value(0, torch.int32))  # a maximum of nothing would be true


def _all(recorder: Recorder, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
    missing = recorder.graph.cast(recorder.graph.node("Not", recorder.value(x, torch.bool)), torch.int32)
    total = recorder.graph.node("ReduceSum", missing, _axes(recorder, x, dim), keepdims=int(keepdim))
    return recorder.graph.node("Equal", total, recorder.value(0, torch.int32))


def _extremum(kind: str) -> Function:
    def record(recorder: Recorder, out: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> str:
        return recorder.graph.node(kind, recorder.value(x), axis=dim, keepdims=int(keepdim))

    return record


def _cumsum(recorder: Recorder, out: Tensor, x: Tensor, dim: int) -> str:
    return recorder.graph.node("CumSum", recorder.value(x, out.dtype), recorder.value(dim, torch.int64))


def _softmax(recorder: Recorder, out: Tensor, x: Tensor, dim: int, *_: Any, **__: Any) -> str:
    return recorder.graph.node("Softmax", recorder.value(x, out.dtype), axis=dim)


def _matmul(recorder: Recorder, out: Tensor, a: Tensor, b: Tensor) -> str:
    return recorder.graph.node("MatMul", recorder.value(a, out.dtype), recorder.value(b, out.dtype))


def _layer_norm(
    recorder: Recorder,
    out: Tensor,
    x: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> str:
    weight = torch.ones(normalized_shape) if weight is None else weight
    given = [recorder.value(tensor, out.dtype) for tensor in (x, weight, bias) if tensor is not None]
    return recorder.graph.node("LayerNormalization", *given, axis=-len(normalized_shape), epsilon=eps)


FUNCTIONS: dict[str, Function] = {
    "abs": _unary("Abs"),
    "arctan": _unary("Atan"),  # of float32; `atan` is made of it
    "ceil": _unary("Ceil"),
    "cos": _unary("Cos"),
    "erf": _unary("Erf"),
    "exp": _unary("Exp"),
    "floor": _unary("Floor"),
    "log": _unary("Log"),
    "neg": _unary("Neg"),
    "reciprocal": _unary("Reciprocal"),
    "relu": _unary("Relu"),
    "round": _unary("Round"),
    "sigmoid": _unary("Sigmoid"),
    "sign": _unary("Sign"),
    "sin": _unary("Sin"),
    "sqrt": _unary("Sqrt"),
    "tanh": _unary("Tanh"),
    "isnan": _test("IsNaN"),
    "isinf": _test("IsInf"),
    "invert": _unary("Not"),
    "bitwise_not": _unary("Not"),
    "logical_not": _unary("Not"),
    "add": _binary("Add"),
    "radd": _binary("Add", swap=True),
    "sub": _binary("Sub"),
    "rsub": _binary("Sub", swap=True),
    "mul": _binary("Mul"),
    "rmul": _binary("Mul", swap=True),
    "div": _binary("Div"),
    "truediv": _binary("Div"),
    "rdiv": _binary("Div", swap=True),
    "rtruediv": _binary("Div", swap=True),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "fmod": _binary("Mod", fmod=1),
    "pow": _binary("Pow"),
    "rpow": _binary("Pow", swap=True),
    "eq": _comparison("Equal"),
    "ne": _comparison("Equal", negated=True),
    "lt": _comparison("Less"),
    "le": _comparison("LessOrEqual"),
    "gt": _comparison("Greater"),
    "ge": _comparison("GreaterOrEqual"),
    "and": _logic("And"),
    "rand": _logic("And"),
    "logical_and": _logic("And"),
    "or": _logic("Or"),
    "ror": _logic("Or"),
    "logical_or": _logic("Or"),
    "where": _where,
    "bool": _cast(torch.bool),
    "int": _cast(torch.int32),
    "long": _cast(torch.int64),
    "float": _cast(torch.float32),
    "double": _cast(torch.float64),
    **dict.fromkeys(("contiguous", "detach", "clone"), _same),
    "amax": _reduction("ReduceMax"),
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "any": _any,
    "all": _all,
    "argmax": _extremum("ArgMax"),
    "argmin": _extremum("ArgMin"),
    "cumsum": _cumsum,
    "softmax": _softmax,
    "matmul": _matmul,
    "layer_norm": _layer_norm,
}
