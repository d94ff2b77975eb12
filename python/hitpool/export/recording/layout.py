"""Functions of PyTorch that arrange, choose and create numbers, as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor

from hitpool.export.recording.recorder import END, LARGE, Function, Recorder, RecordError

_Index = int | slice | Tensor | EllipsisType | None


def _reshape(recorder: Recorder, out: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    wanted: list[int] = list(out.shape)
    if sum(size >= LARGE for size in wanted) == 1:
        wanted = [-1 if size >= LARGE else size for size in wanted]
    else:
        for axis, sizes in enumerate(zip(x.shape, out.shape, strict=False)):
            if sizes[0] != sizes[1]:
                break
            wanted[axis] = 0  # as it is
    return recorder.graph.node("Reshape", recorder.value(x), recorder.ints(wanted))


def _expand(recorder: Recorder, out: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return recorder.value(x) if x.shape == out.shape else _spread(recorder, out, recorder.value(x))


def _spread(recorder: Recorder, out: Tensor, value: str) -> str:
    return recorder.graph.node("Expand", value, recorder.ints(out.shape))


def _repeat(recorder: Recorder, out: Tensor, x: Tensor, *repeats: int) -> str:
    if len(repeats) != x.dim():
        raise RecordError("repeat with new dimensions cannot be recorded")
    return recorder.graph.node("Tile", recorder.value(x), recorder.ints(repeats))


def _unsqueeze(recorder: Recorder, out: Tensor, x: Tensor, dim: int) -> str:
    return recorder.graph.node("Unsqueeze", recorder.value(x), recorder.ints([dim]))


def _squeeze(recorder: Recorder, out: Tensor, x: Tensor, dim: int) -> str:
    if out.dim() == x.dim():
        return recorder.value(x)
    return recorder.graph.node("Squeeze", recorder.value(x), recorder.ints([dim]))


def _permuted(recorder: Recorder, x: Tensor, order: Sequence[int]) -> str:
    return recorder.graph.node("Transpose", recorder.value(x), perm=[axis % x.dim() for axis in order])


def _permute(recorder: Recorder, out: Tensor, x: Tensor, *order: Any) -> str:
    return _permuted(recorder, x, order[0] if len(order) == 1 else order)


def _transpose(recorder: Recorder, out: Tensor, x: Tensor, one: int = -2, other: int = -1) -> str:
    order = list(range(x.dim()))
    order[one], order[other] = order[other], order[one]
    return _permuted(recorder, x, order)


def _movedim(recorder: Recorder, out: Tensor, x: Tensor, source: int, destination: int) -> str:
    order = list(range(x.dim()))
    order.remove(source % x.dim())
    order.insert(destination % x.dim(), source % x.dim())
    return _permuted(recorder, x, order)


def _cat(recorder: Recorder, out: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> str:
    return recorder.graph.node("Concat", *(recorder.value(x, out.dtype) for x in tensors), axis=dim)


def _stack(recorder: Recorder, out: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> str:
    place, values = recorder.ints([dim]), [recorder.value(x, out.dtype) for x in tensors]
    parts = [recorder.graph.node("Unsqueeze", value, place) for value in values]
    stacked = recorder.graph.node("Concat", *parts, axis=dim % out.dim())
    recorder.stacks[stacked] = dim % out.dim(), values
    return stacked


def _sliced(recorder: Recorder, value: str, first: int, last: int, axis: int, step: int = 1) -> str:
    return recorder.graph.node("Slice", value, *(recorder.ints([number]) for number in (first, last, axis, step)))


def _flip(recorder: Recorder, out: Tensor, x: Tensor, dim: int) -> str:
    return _sliced(recorder, recorder.value(x), -1, -END, dim, -1)


def _split(recorder: Recorder, out: Sequence[Tensor], x: Tensor, size: Any, dim: int = 0) -> list[str]:
    first, parts = 0, []
    for part in out:
        parts.append(_sliced(recorder, recorder.value(x), first, first + part.shape[dim], dim))
        first += part.shape[dim]
    return parts


def _unbind(recorder: Recorder, out: Sequence[Tensor], x: Tensor, dim: int = 0) -> list[str]:
    return [_picked(recorder, recorder.value(x), number, dim % x.dim()) for number in range(len(out))]


def _picked(recorder: Recorder, value: str, number: int, axis: int) -> str:
    stacked_along, parts = recorder.stacks.get(value, (None, []))
    if stacked_along == axis:
        return parts[number]
    return recorder.graph.node("Gather", value, recorder.value(int(number), torch.int64), axis=axis)


def _select(recorder: Recorder, out: Tensor, x: Tensor, dim: int, index: int) -> str:
    return _picked(recorder, recorder.value(x), index, dim % x.dim())


def _getitem(recorder: Recorder, out: Tensor, x: Tensor, index: _Index | tuple[_Index, ...]) -> str:
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(item is not None and item is not Ellipsis for item in items)
    place = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    items[place : place + 1] = [slice(None)] * (x.dim() - used)
    chosen = list(enumerate(item for item in items if item is not None))  # one for each axis
    if sum(isinstance(item, Tensor) for item in items) > 1:
        raise RecordError("an index of several tensors cannot be recorded")
    graph, value = recorder.graph, recorder.value(x)
    if cuts := [(axis, item) for axis, item in chosen if isinstance(item, slice) and item != slice(None)]:
        first = [item.start or 0 for _, item in cuts]
        last = [END if item.stop is None else item.stop for _, item in cuts]
        numbers = first, last, [axis for axis, _ in cuts], [item.step or 1 for _, item in cuts]
        value = graph.node("Slice", value, *map(recorder.ints, numbers))
    for axis, item in reversed(chosen):
        if isinstance(item, Tensor):
            value = graph.node("Gather", value, recorder.value(item), axis=axis)
        elif not isinstance(item, slice):
            value = _picked(recorder, value, item, axis)  # type: ignore[arg-type]
    kept = [item for item in items if item is None or isinstance(item, slice | Tensor)]
    if new := [axis for axis, item in enumerate(kept) if item is None]:
        value = graph.node("Unsqueeze", value, recorder.ints(new))
    return value


def _index_select(recorder: Recorder, out: Tensor, x: Tensor, dim: int, index: Tensor) -> str:
    return recorder.graph.node("Gather", recorder.value(x), recorder.value(index), axis=dim)


def _gather(recorder: Recorder, out: Tensor, x: Tensor, dim: int, index: Tensor) -> str:
    return recorder.graph.node("GatherElements", recorder.value(x), recorder.value(index), axis=dim)


def _scatter(recorder: Recorder, out: Tensor, x: Tensor, dim: int, index: Tensor, source: Tensor) -> str:
    given = recorder.value(x), recorder.value(index), recorder.value(source, out.dtype)
    return recorder.graph.node("ScatterElements", *given, axis=dim)


def _take(recorder: Recorder, out: Tensor, x: Tensor, index: Tensor) -> str:
    flat = recorder.graph.node("Reshape", recorder.value(x), recorder.ints([-1]))
    return recorder.graph.node("Gather", flat, recorder.value(index), axis=0)


def _pad(
    recorder: Recorder, out: Tensor, x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> str:
    if mode != "constant":
        raise RecordError(f"padding by {mode} cannot be recorded")
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, number in enumerate(pad):
        (after if i % 2 else before)[-1 - i // 2] = number
    return recorder.graph.node(
        "Pad", recorder.value(x), recorder.ints(before + after), recorder.value(value or 0, out.dtype)
    )


def _diagonal(recorder: Recorder, out: Tensor, x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> str:
    rows, columns = x.shape[-2:]
    if offset or (dim1, dim2) != (-2, -1) or rows != columns:
        raise RecordError("only the diagonal of the last two dimensions can be recorded")
    graph = recorder.graph
    flat = graph.node("Reshape", recorder.value(x), recorder.ints([0] * (x.dim() - 2) + [rows * columns]))
    return _sliced(recorder, flat, 0, END, x.dim() - 2, columns + 1)


def _topk(recorder: Recorder, out: Any, x: Tensor, k: int, dim: int = -1, largest: bool = True) -> tuple[str, ...]:
    return recorder.graph.nodes(
        "TopK", 2, recorder.value(x), recorder.ints([k]), axis=dim, largest=int(largest), sorted=1
    )


def _argsort(recorder: Recorder, out: Tensor, x: Tensor, dim: int = -1, stable: bool = False) -> str:
    return _topk(recorder, out, x, x.shape[dim], dim, largest=False)[1]  # of equal ones the first comes first


def _arange(recorder: Recorder, out: Tensor, *ends: int, **_: Any) -> str:
    first, last = (0, *ends) if len(ends) == 1 else ends[:2]
    return recorder.graph.node("Range", *(recorder.value(end, out.dtype) for end in (first, last, 1)))


def _filled(number: float) -> Function:
    def record(recorder: Recorder, out: Tensor, *_: Any, **__: Any) -> str:
        return _spread(recorder, out, recorder.value(number, out.dtype))

    return record


def _full(recorder: Recorder, out: Tensor, *given: Any, **_: Any) -> str:
    return _spread(recorder, out, recorder.value(given[-1], out.dtype))  # behind what says type and size


FUNCTIONS: dict[str, Function] = {
    **dict.fromkeys(("reshape", "view", "view_as", "unflatten"), _reshape),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    "repeat": _repeat,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "permute": _permute,
    **dict.fromkeys(("transpose", "mT"), _transpose),
    "movedim": _movedim,
    "cat": _cat,
    "stack": _stack,
    **dict.fromkeys(("split", "chunk"), _split),
    "unbind": _unbind,
    "select": _select,
    "flip": _flip,
    "getitem": _getitem,
    "index_select": _index_select,
    "gather": _gather,
    "scatter": _scatter,
    "take": _take,
    "pad": _pad,
    "diagonal": _diagonal,
    "topk": _topk,
    "argsort": _argsort,
    "arange": _arange,
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), _filled(0)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), _filled(1)),
    **dict.fromkeys(("full", "full_like", "new_full"), _full),
}
