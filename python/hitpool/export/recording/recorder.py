"""Runs PyTorch code once and writes down what it computes as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from hitpool.export.recording.graph import Graph

Function = Callable[..., Any]
END = torch.iinfo(torch.int64).max  # of a slice without one
LARGE = 5_000  # sizes from here on are free
EVENTS, HITS = 10_007, 1_000_003  # sizes that stand for free ones: prime, so that no other is taken for them
_CPU = torch.device("cpu")
_OF_VALUES = {"__bool__", "__int__", "__float__", "__index__", "__array__", "item", "tolist", "numpy", "nonzero"}
_OF_META = {"dim", "ndim", "ndimension", "dtype", "layout", "is_sparse", "is_cuda", "is_complex", "is_floating_point"}
_OF_META |= {"requires_grad", "grad", "is_nested", "names", "is_leaf", "grad_fn", "is_quantized", "is_meta", "hash"}
_OF_META |= {"element_size", "result_type", "is_contiguous"}


class RecordError(RuntimeError):
    """The code does what cannot be recorded."""


class Size(int):
    """A free size of a tensor, and what is computed from it; its number stands for it while the code runs."""

    recorder: Recorder

    def __new__(cls, number: int, recorder: Recorder) -> Size:
        size = super().__new__(cls, number)
        size.recorder = recorder
        return size

    def _with(self, kind: str, other: int, number: int) -> Size:
        graph = self.recorder.graph
        self.recorder.sizes.setdefault(
            number, graph.node(kind, self.recorder.ints([self]), self.recorder.ints([other]))
        )
        return Size(number, self.recorder)

    def __add__(self, other: int) -> Size:
        return self._with("Add", other, int(self) + int(other))

    def __sub__(self, other: int) -> Size:
        return self._with("Sub", other, int(self) - int(other))

    def __mul__(self, other: int) -> Size:  # type: ignore[override]
        return self._with("Mul", other, int(self) * int(other))

    def __floordiv__(self, other: int) -> Size:
        return self._with("Div", other, int(self) // int(other))  # of positive numbers

    __radd__, __rmul__ = __add__, __mul__


class Symbol(Tensor):
    """A tensor of the recorded code: type and shape, without values, and the name of its value in the graph.

    Of a Cholesky factor it has the inverse too.
    """

    value: str
    inverse_factor: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # the recorder has it all


class Recorder(TorchFunctionMode):
    """Replaces each function of PyTorch by nodes of a graph.

    The code runs on tensors of the device `meta`, which have types and shapes and no values; free sizes are numbers
    that occur nowhere else. Functions of tensors that are known, such as weights, are computed at once.

    Args:
        functions: By the name of a function of PyTorch, what adds its nodes: takes the recorder, what the function
            gives on the device `meta`, and its arguments; returns names of values, in the structure of the result.
        composites: By the name of a function, other PyTorch code for it.

    Raises:
        RecordError: The code needs the value of a tensor, or a function that is not there.
    """

    def __init__(self, functions: dict[str, Function], composites: dict[str, Function]) -> None:
        super().__init__()
        self.functions, self.composites = functions, composites
        self.graph = Graph()
        self.sizes: dict[int, str] = {}  # 1-dim values of free sizes
        self._metas: dict[tuple[Any, ...], Any] = {}
        self.stacks: dict[str, tuple[int, list[str]]] = {}  # values that are stacked along an axis

    def input(self, name: str, dtype: torch.dtype, shape: Sequence[int], names: Sequence[str | int]) -> Symbol:
        """A tensor that the code gets.

        Args:
            name: Its name.
            dtype: Its type.
            shape: Its sizes; those that are free are `EVENTS` or `HITS`.
            names: Its sizes, with names for those that are free.
        """
        return self.symbol(torch.empty(tuple(shape), dtype=dtype, device="meta"), self.graph.input(name, dtype, names))

    def symbol(self, meta: Tensor, value: str) -> Symbol:
        """A tensor of the recorded code.

        Args:
            meta: Its type and shape.
            value: Name of its value.
        """
        symbol = Tensor._make_subclass(Symbol, meta.as_subclass(Tensor))
        symbol.value = value
        for axis, size in enumerate(meta.shape):
            if size >= LARGE and size not in self.sizes:
                shape = self.graph.node("Shape", value)
                self.sizes[size] = self.graph.node("Gather", shape, self.ints([axis]))
        return symbol

    def value(self, given: Any, dtype: torch.dtype | None = None) -> str:
        """Name of the value of an argument.

        Args:
            given: Tensor, number or size.
            dtype: Type that it is to have; None for its own.
        """
        if isinstance(given, Symbol):
            return given.value if dtype in (None, given.dtype) else self.graph.cast(given.value, dtype)
        if isinstance(given, Size):
            scalar = self.graph.node("Squeeze", self.ints([given]))
            return scalar if dtype in (None, torch.int64) else self.graph.cast(scalar, dtype)
        tensor = (
            given.detach().to(dtype or given.dtype) if isinstance(given, Tensor) else torch.tensor(given, dtype=dtype)
        )
        return self.graph.constant(tensor.cpu().numpy())

    def ints(self, numbers: Sequence[int]) -> str:
        """Name of a list of integers.

        Args:
            numbers: Integers, of which some are free sizes.
        """
        if any(LARGE <= number < END and number not in self.sizes for number in numbers):
            raise RecordError(f"a size of a tensor is not known from its arguments, or {LARGE} or more: {numbers}")
        if not any(number in self.sizes for number in numbers):
            return self.graph.constant(torch.tensor(list(map(int, numbers)), dtype=torch.int64).numpy())
        parts = [self.sizes.get(number) or self.ints([number]) for number in numbers]
        return parts[0] if len(parts) == 1 else self.graph.node("Concat", *parts, axis=0)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = func.__name__
        if given == "__get__":  # of a property
            given = func.__self__.__name__  # type: ignore[attr-defined]
        name = given.strip("_")
        leaves = list(_leaves((args, kwargs)))
        if not any(isinstance(leaf, Symbol | Size) for leaf in leaves):
            return func(*args, **kwargs)
        if name in ("shape", "size"):
            sizes = tuple(Size(n, self) if n >= LARGE else n for n in args[0].shape)
            return sizes if name == "shape" or len(args) < 2 else sizes[args[1]]
        if name == "device":
            return _CPU
        if name == "len":
            return self.__torch_function__(Tensor.size, types, (args[0], 0))
        if name in _OF_META:
            return func(*args, **kwargs)
        if given in _OF_VALUES:
            raise RecordError(f"the code asks for the value of a tensor ({given}), which is not known before it runs")
        if name in self.composites:
            with self:
                result = self.composites[name](*args, **kwargs)
        elif name in self.functions:
            meta = self._meta(func, leaves, args, kwargs)
            result = self._named(meta, self.functions[name](self, meta, *args, **kwargs))
        else:
            raise RecordError(f"the function {given} of PyTorch is not known to hitpool.export.recording")
        if given.endswith("_") and not given.startswith("_"):  # in place
            args[0].value = result.value
            return args[0]
        return result

    def _meta(self, func: Function, leaves: list[Any], args: Any, kwargs: Any) -> Any:
        """What a function gives on the device `meta`; it is asked once for each kind of arguments."""
        key = (func, tuple(kwargs), *map(_kind, leaves))
        if key not in self._metas:
            place = {} if any(isinstance(leaf, Tensor) for leaf in leaves) else {"device": "meta"}  # makes tensors
            try:
                self._metas[key] = func(
                    *tree_map_only(Tensor, _meta, args), **(tree_map_only(Tensor, _meta, kwargs) | place)
                )
            except NotImplementedError as error:
                raise RecordError(f"{func.__name__} with these arguments cannot be recorded: {error}") from error
        return self._metas[key]

    def _named(self, meta: Any, values: Any) -> Any:
        if isinstance(values, str):
            return self.symbol(meta, values)
        if not isinstance(values, tuple | list):
            return values
        symbols = [self._named(*pair) for pair in zip(meta, values, strict=True)]
        return symbols if type(meta) in (list, tuple) else type(meta)(symbols)


def _leaves(given: Any) -> Iterator[Any]:
    if isinstance(given, tuple | list):
        for part in given:
            yield from _leaves(part)
    elif isinstance(given, dict):
        yield from _leaves(tuple(given.values()))
    elif isinstance(given, slice):
        yield slice
        yield from (given.start, given.stop, given.step)
    else:
        yield given


def _kind(leaf: Any) -> Any:
    """What the type and shape of a result depend on."""
    return (leaf.dtype, leaf.shape) if isinstance(leaf, Tensor) else (type(leaf), leaf)


def _meta(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor) if isinstance(tensor, Symbol) else tensor.to("meta")
