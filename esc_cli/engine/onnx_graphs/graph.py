"""Collect the nodes and the constants of an ONNX graph, and make a model of them.

The graphs are written node by node instead of traced from torch. They are small, work for any size, and do
not depend on the version of torch. This module imports ``onnx``, which is optional, inside functions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

OPSET = 17
"""Version of ONNX's operators: the first with ``LayerNormalization``. TensorRT reads it from 8.6 on."""

_IR_VERSION = 8
"""Version of ONNX's file format that belongs to the opset."""

INPUT, OUTPUT = "input", "output"

Value = str
"""Name of a value in a graph: an input, a constant, or the result of a node."""

Operand = Value | Tensor
"""A value, or a tensor that becomes a constant."""


class Graph:
    """An ONNX graph that is being written.

    Args:
        dtype: Type of the floating-point constants, float32 or float16.
        window_by_window: Whether attention runs in one window after the other, which takes less memory.
        outer: Graph around this one, whose values this one may read; None for a complete graph.
    """

    def __init__(
        self, dtype: torch.dtype, *, window_by_window: bool = False, outer: "Graph | None" = None
    ) -> None:
        self.dtype = dtype
        self.window_by_window = window_by_window
        self._shared: dict[str, Value] = {}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._prefix = "" if outer is None else f"{outer._new_name('inner')}."

    def constant(self, tensor: Tensor, name: str | None = None, dtype: torch.dtype | None = None) -> Value:
        """Store a tensor.

        By default, floating-point values get the type of the graph, and whole numbers become int64.
        """
        from onnx import numpy_helper

        dtype = dtype or (self.dtype if tensor.is_floating_point() else torch.int64)
        name = name or self._new_name("constant")
        self._constants.append(numpy_helper.from_array(tensor.detach().to(dtype).contiguous().numpy(), name))
        return name

    def node(self, kind: str, *operands: Operand, **attributes: Any) -> Value:
        """Add a node with one result. Lists of whole numbers and graphs are attributes, too."""
        return self.nodes(kind, 1, *operands, **attributes)[0]

    def nodes(self, kind: str, results: int, *operands: Operand, **attributes: Any) -> list[Value]:
        """Add a node with several results."""
        from onnx import helper

        name = self._new_name(kind)
        inputs = [
            self.constant(one, f"{name}.{position}") if isinstance(one, Tensor) else one
            for position, one in enumerate(operands)
        ]
        outputs = [name] if results == 1 else [f"{name}.out{position}" for position in range(results)]
        self._nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs

    def shared(self, key: str, make: Callable[[], Value]) -> Value:
        """Return the value that was made for a key, and make it the first time."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def name(self, word: str) -> Value:
        """Return the name of an input of an inner graph."""
        return f"{self._prefix}{word}"

    @staticmethod
    def number_of(dtype: torch.dtype) -> int:
        """Return ONNX's number of a type."""
        from onnx import TensorProto

        return int(TensorProto.FLOAT16 if dtype == torch.float16 else TensorProto.FLOAT)

    def reshape(self, value: Value, *shape: int) -> Value:
        """Reshape a value. A length of 0 is that of the same axis of ``value``, and -1 is what remains."""
        return self.node("Reshape", value, torch.tensor(shape))

    def transpose(self, value: Value, *axes: int) -> Value:
        """Reorder the axes of a value."""
        return self.node("Transpose", value, perm=axes)

    def split(self, value: Value, lengths: Sequence[int], axis: int = 1) -> list[Value]:
        """Cut a value along an axis."""
        return self.nodes("Split", len(lengths), value, torch.tensor(lengths), axis=axis)

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        """Convert a value to another type of floating point. In a graph of float32, all have this type."""
        return value if self.dtype == torch.float32 else self.node("Cast", value, to=self.number_of(dtype))

    def inner(self, inputs: Mapping[Value, Sequence[int]], output: Value, shape: Sequence[int]) -> Any:
        """Return the ``onnx.GraphProto`` of a graph for an attribute of a node of the outer graph.

        Args:
            inputs: Shapes of the inputs by name.
            output: Value to return.
            shape: Shape of ``output``.
        """
        from onnx import helper

        sources = [self._described(name, shape) for name, shape in inputs.items()]
        return helper.make_graph(
            self._nodes, self._prefix, sources, [self._described(output, shape)], self._constants
        )

    def model(self, output: Value, low: Sequence[str | int], high: Sequence[str | int]) -> Any:
        """Return the ``onnx.ModelProto`` of the graph, from ``input`` to ``output``.

        Args:
            output: Value to return as ``output``.
            low: Lengths of the axes of ``input``. A free length is a name.
            high: Lengths of the axes of ``output``.

        Raises:
            ValueError: ``output`` is not the result of the last node.
        """
        from onnx import helper

        if self._nodes[-1].output[0] != output:
            raise ValueError("the last node must return the output")
        self._nodes[-1].output[0] = OUTPUT
        graph = helper.make_graph(
            self._nodes,
            "esc",
            [self._described(INPUT, low)],
            [self._described(OUTPUT, high)],
            self._constants,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
        )

    def _described(self, name: Value, shape: Sequence[str | int]) -> Any:
        from onnx import helper

        return helper.make_tensor_value_info(name, self.number_of(self.dtype), list(shape))

    def _new_name(self, kind: str) -> str:
        return f"{self._prefix}{kind}_{len(self._nodes) + len(self._constants)}"
