"""An ONNX graph, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 8  # onnxruntime 1.14 and newer
_ELEMENT_TYPES = {  # numbers of onnx.TensorProto
    torch.float32: 1,
    torch.uint8: 2,
    torch.int8: 3,
    torch.int32: 6,
    torch.int64: 7,
    torch.bool: 9,
    torch.float16: 10,
    torch.float64: 11,
}


class _Node(NamedTuple):
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Any], ...]


class Graph:
    """Nodes of standard operators, without repetition: what was computed is not computed again.

    Values are referred to by their names. `write` leaves out what no output needs.

    Example:
        >>> graph = Graph()
        >>> x = graph.input("x", torch.float32, ["B"])
        >>> graph.node("Add", x, x) == graph.node("Add", x, x)
        True
    """

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._known: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        self._inputs: list[tuple[str, int, Sequence[str | int]]] = []
        self._outputs: list[tuple[str, int, Sequence[str | int]]] = []

    def input(self, name: str, dtype: torch.dtype, shape: Sequence[str | int]) -> str:
        """Adds an input and returns its name.

        Args:
            name: Its name.
            dtype: Its type.
            shape: Sizes, or names of sizes that are free.
        """
        self._inputs.append((name, _ELEMENT_TYPES[dtype], shape))
        return name

    def output(self, name: str, value: str, dtype: torch.dtype, shape: Sequence[str | int]) -> None:
        """Adds an output.

        Args:
            name: Its name.
            value: What it is.
            dtype: Its type.
            shape: Sizes, or names of sizes that are free.
        """
        self._nodes.append(_Node("Identity", (value,), (name,), ()))
        self._outputs.append((name, _ELEMENT_TYPES[dtype], shape))

    def constant(self, array: NDArray[Any]) -> str:
        """Adds a constant and returns its name; equal ones are one.

        Args:
            array: Its value, any shape.
        """
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = f"c{len(self._constants)}"
            self._constants[name] = array.copy()
            self._known[key] = (name,)
        return self._known[key][0]

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns its output.

        Args:
            kind: Operator of the default domain.
            *inputs: Its inputs.
            **attributes: Its attributes.
        """
        return self.nodes(kind, 1, *inputs, **attributes)[0]

    def nodes(self, kind: str, count: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """Adds a node and returns its outputs.

        Args:
            kind: Operator of the default domain.
            count: Number of outputs.
            *inputs: Its inputs.
            **attributes: Its attributes.
        """
        listed = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in sorted(attributes.items()))
        key = (kind, count, inputs, listed)
        if key not in self._known:
            outputs = tuple(f"v{len(self._nodes)}" + (f"_{i}" if i else "") for i in range(count))
            self._nodes.append(_Node(kind, inputs, outputs, listed))
            self._known[key] = outputs
        return self._known[key]

    def cast(self, value: str, dtype: torch.dtype) -> str:
        """Adds a conversion.

        Args:
            value: What to convert.
            dtype: The wanted type.
        """
        return self.node("Cast", value, to=_ELEMENT_TYPES[dtype])

    def write(self, name: str) -> onnx.ModelProto:
        """The model with all that its outputs need.

        Args:
            name: Name of the graph.
        """
        from onnx import helper, numpy_helper

        needed = {output for output, _, _ in self._outputs}
        used = []
        for node in reversed(self._nodes):
            if needed.intersection(node.outputs):
                used.append(node)
                needed.update(node.inputs)
        nodes = [
            helper.make_node(node.kind, node.inputs, node.outputs, **dict(node.attributes)) for node in reversed(used)
        ]
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info(*given) for given in self._inputs],
            [helper.make_tensor_value_info(*given) for given in self._outputs],
            [numpy_helper.from_array(array, key) for key, array in self._constants.items() if key in needed],
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="hitpool")
