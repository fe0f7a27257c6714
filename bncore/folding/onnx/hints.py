"""What a graph's first nodes tell of its inputs where the inputs' own types are silent: ranks, channels, ranges of indices.

Guesses for random inputs, never for folding.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Hints"]

_VIEWS = {
    "Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Expand", "Slice", "Split", "Tile", "Concat",
}  # fmt: skip
_INDEXED = {"Gather": 1, "GatherElements": 1, "GatherND": 1}
_BYTES = {np.dtype(np.uint8): (0, 256), np.dtype(np.int8): (-128, 128)}
_STEPS = 64


class Hints:
    """Looks at the top-level graph of a model."""

    def __init__(self, model: ModelProto) -> None:
        self._users: dict[str, list[NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in dict.fromkeys(node.input):
                self._users[name].append(node)
        self._shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self._shapes[node.output[0]] = tuple(attribute.t.dims)

    def completed(
        self, name: str, dims: tuple[int | str, ...] | None
    ) -> tuple[int | str, ...] | None:
        """The dims with a rank and a number of channels, if the first linear operation or norm tells them."""
        for node in self._users[name]:
            weight = self._shapes.get(node.input[1]) if len(node.input) > 1 else None
            if weight is None or node.input[0] != name:
                continue
            channels, rank, axis = self._channels(node, weight)
            if channels is None:
                continue
            if dims is None and rank is not None:
                dims = tuple("batch" if at == 0 else f"{name}:{at}" for at in range(rank))
            if dims and abs(axis) < len(dims) and isinstance(dims[axis], str):
                changed = list(dims)
                changed[axis] = channels
                dims = tuple(changed)
        return dims

    @staticmethod
    def _channels(node: NodeProto, weight: tuple[int, ...]) -> tuple[int | None, int | None, int]:
        """Size and axis of the channels a node reads, and its input's rank."""
        attributes = {item.name: item.i for item in node.attribute}
        if node.op_type == "Conv" and len(weight) > 2:
            return weight[1] * attributes.get("group", 1), len(weight), 1
        if node.op_type == "ConvTranspose" and len(weight) > 2:
            return weight[0], len(weight), 1
        if node.op_type == "BatchNormalization" and len(weight) == 1:
            return weight[0], None, 1
        if node.op_type == "Gemm" and len(weight) == 2 and not attributes.get("transA"):
            return weight[1 if attributes.get("transB") else 0], 2, 1
        if node.op_type == "MatMul" and len(weight) > 1:
            return weight[-2], None, -1
        return None, None, 0

    def range_of(self, name: str, dtype: np.dtype[Any]) -> tuple[int, int]:
        """Lowest value and one past the highest: inside all tables it indexes, else all of a byte, else 0 and 1."""
        sizes = self._tables(name)
        if sizes:
            return 0, max(1, min(sizes))
        return _BYTES.get(dtype, (0, 2))

    def _tables(self, name: str) -> list[int]:
        """Sizes of the axes that are indexed by an input, or by what is only reshaped from it."""
        sizes: list[int] = []
        seen, waiting = {name}, [name]
        while waiting and len(seen) < _STEPS:
            current = waiting.pop()
            for node in self._users[current]:
                if node.op_type in _INDEXED and list(node.input).index(current) == 1:
                    table = self._shapes.get(node.input[0], ())
                    axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
                    if table and -len(table) <= axis < len(table):
                        sizes.append(table[axis])
                elif node.op_type in _VIEWS and node.input[0] == current:
                    new = [output for output in node.output if output not in seen]
                    seen.update(new)
                    waiting.extend(new)
        return sizes
