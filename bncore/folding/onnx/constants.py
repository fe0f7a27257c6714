"""Constants of a model: found behind aliases and small expressions, changed in float64 without
touching what other nodes read, rounded once when the model is finished.

A changed constant is a computation on the original tensor, not an array, so that a large model does
not have to fit into memory twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...support.floats import float_type
from ..algebra import SUBNORMAL_SHARE, Array64, FoldRefused, rounded
from .evaluate import OPERATORS, numpy_dtype
from .graph import Graph, Node
from .store import FLOATS, dtype_of

if TYPE_CHECKING:
    import onnx

    from .program import Program

__all__ = ["Constant", "Constants"]

KEEP = 2**18  # elements: shorter results are kept, longer ones computed again
NESTING = 50  # nodes of one constant expression


class Constant:
    """A value known when the model is read."""

    def __init__(
        self, data_type: int, shape: tuple[int, ...], load: Callable[[], np.ndarray]
    ) -> None:
        self.data_type, self.shape, self._load = data_type, shape, load
        self._kept: np.ndarray | None = None

    def values(self) -> np.ndarray:
        """In the constant's own dtype; float64 once it is changed. Not to be written to."""
        if self._kept is not None:
            return self._kept
        try:
            values = self._load()
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # of ONNX's own reader
            raise FoldRefused(f"a tensor cannot be read ({error})") from None
        if values.size <= KEEP:
            self._kept = values
        return values

    def float64(self) -> Array64:
        return self.values().astype(np.float64)

    @property
    def is_float(self) -> bool:
        return self.data_type in FLOATS


class Constants:
    """All constants of a program, and what becomes of them."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._changed: dict[str, Constant] = {}
        self._known: dict[
            tuple[int, str], Constant | FoldRefused
        ] = {}  # no rewrite changes which it is

    def find(self, graph: Graph, name: str, depth: int = 0) -> Constant:
        """The constant of this name as seen from a graph.

        Raises
        ------
        FoldRefused
            If the value is computed, or the caller of the model may replace it.
        """
        if not name:
            raise FoldRefused("an operand is missing")
        owner = graph.owner(name)
        if name in self._changed and owner is self._program.main:
            return self._changed[name]
        if owner is None or name in owner.sparse or depth > NESTING:
            raise FoldRefused(f"{name} is not a constant")
        key = (id(owner), name)
        if key not in self._known:
            try:
                self._known[key] = self._read(owner, name, depth)
            except FoldRefused as reason:
                self._known[key] = reason
        known = self._known[key]
        if isinstance(known, FoldRefused):
            raise FoldRefused(*known.args)
        return known

    def is_constant(self, graph: Graph, name: str) -> bool:
        try:
            self.find(graph, name)
        except FoldRefused:
            return False
        return True

    def _read(self, owner: Graph, name: str, depth: int) -> Constant:
        if name in owner.initializers:
            if name in owner.inputs and self._program.ir_version >= 4:
                raise FoldRefused(
                    f"{name} is an input of the graph too, the caller may override it"
                )
            return self._of_tensor(owner.initializers[name])
        node = owner.producer.get(name)
        if node is None:
            raise FoldRefused(f"{name} is an input of the graph, not a constant")
        if node.op == "Constant":
            return self._of_constant_node(node)
        return self._of_expression(node, depth)

    def _of_tensor(self, tensor: onnx.TensorProto) -> Constant:
        store = self._program.store
        return Constant(tensor.data_type, tuple(tensor.dims), lambda: store.read(tensor))

    def _of_constant_node(self, node: Node) -> Constant:
        tensor = node.attribute("value")
        if tensor is not None:
            return self._of_tensor(tensor)
        for kind, data_type, dtype in (("float", 1, np.float32), ("int", 7, np.int64)):
            for name in (f"value_{kind}", f"value_{kind}s"):
                value = node.attribute(name)
                if value is not None:
                    array = np.array(value, dtype)
                    return Constant(data_type, array.shape, lambda array=array: array)  # type: ignore[misc]
        raise FoldRefused(f"{node.outputs[0]} is not a dense constant")

    def _of_expression(self, node: Node, depth: int) -> Constant:
        if node.op == "Shape":
            return self._of_shape(node)
        if node.op == "CastLike":
            return self._of_cast_like(node, depth)
        operator = OPERATORS.get(node.op)
        if operator is None or len(node.outputs) != 1:
            raise FoldRefused(f"{node.outputs[0]} is computed by {node.op}, not a constant")
        parts = [self.find(node.graph, n, depth + 1) if n else None for n in node.inputs]

        def load() -> np.ndarray:
            values = [None if part is None else part.values() for part in parts]
            return np.asarray(operator(node, values))

        try:
            values = load()
        except FoldRefused:
            raise
        except Exception as error:  # a malformed expression is no constant
            raise FoldRefused(f"{node.outputs[0]} cannot be computed ({error})") from None
        return Constant(_data_type(values), values.shape, load)

    def _of_cast_like(self, node: Node, depth: int) -> Constant:
        """Of the type of a value, which need not be constant itself."""
        value = self.find(node.graph, node.input(0), depth + 1)
        data_type = self._program.data_type(node.graph, node.input(1)) or 0
        dtype = numpy_dtype(data_type)
        return Constant(data_type, value.shape, lambda: value.values().astype(dtype))

    def _of_shape(self, node: Node) -> Constant:
        shape = self._program.shape(node.graph, node.input(0))
        start, end = node.attribute("start", 0), node.attribute("end")
        part = None if shape is None else shape[start:end]
        if part is None or not all(isinstance(size, int) for size in part):
            raise FoldRefused(f"{node.outputs[0]} is a shape that is not known")
        array = np.array(part, np.int64)
        return Constant(7, array.shape, lambda: array)

    def judge(
        self,
        compute: Callable[[], Array64],
        data_type: int,
        what: str,
        original: Constant | None = None,
    ) -> None:
        """Refuse what the storage type cannot hold; a tensor may keep the subnormals it had."""
        if data_type not in FLOATS:
            raise FoldRefused(f"the {what} is no float tensor")
        dtype = dtype_of(data_type)
        share = 1.0
        if original is not None:
            before = np.abs(original.float64())
            tiny = np.count_nonzero((before > 0) & (before < float_type(dtype).tiny))
            share = SUBNORMAL_SHARE + float(tiny) / max(int(np.count_nonzero(before)), 1)
        rounded(compute(), dtype, what, subnormal_share=share)

    def assign(
        self,
        node: Node,
        index: int,
        compute: Callable[[], np.ndarray],
        shape: tuple[int, ...],
        data_type: int,
        what: str,
    ) -> None:
        """Let an input of a node be another constant: under the old name if nobody else reads that."""
        main, name = self._program.main, node.input(index)
        own = (
            name in main.initializers
            and main.uses(name) == 1
            and node.graph.owner(name) is main
            and self.is_constant(main, name)
            and self.find(main, name).data_type == data_type
            and (self._program.ir_version >= 4 or self.find(main, name).shape == shape)
        )
        if not own:
            hint = name or f"{node.proto.name or node.outputs[0]}.{what}"
            name = self.new(hint, compute, shape, data_type)
            node.set_input(index, name)
            return
        self._changed[name] = Constant(data_type, shape, compute)
        main.shapes[name] = shape

    def new(
        self, hint: str, compute: Callable[[], np.ndarray], shape: tuple[int, ...], data_type: int
    ) -> str:
        """A new constant of the main graph, which bodies see too; returns its name."""
        import onnx

        main = self._program.main
        name = self._program.unique(hint)
        main.initializers[name] = onnx.TensorProto(name=name)
        main.shapes[name], main.types[name] = shape, data_type
        self._changed[name] = Constant(data_type, shape, compute)
        return name

    def finish(self) -> None:
        """Round and write everything that changed."""
        main = self._program.main
        present = {tensor.name: tensor for tensor in main.proto.initializer}
        # all are computed before the first is written: they may start from the same tensor
        tensors = [
            self._tensor(name, constant)
            for name, constant in self._changed.items()
            if name not in main.dead
        ]
        for tensor in tensors:
            if tensor.name in present:
                present[tensor.name].CopyFrom(tensor)
            else:
                main.proto.initializer.append(tensor)
                if self._program.ir_version < 4:  # where every initializer has to be an input too
                    _declare(main.proto, tensor)

    def _tensor(self, name: str, constant: Constant) -> onnx.TensorProto:
        values = constant.values()
        if constant.is_float:
            dtype = dtype_of(constant.data_type)
            values = rounded(values.astype(np.float64), dtype, name, subnormal_share=1.0)
        return self._program.store.write(name, values, constant.data_type)


def _data_type(values: np.ndarray) -> int:
    from onnx import helper

    if values.dtype.name == "bfloat16":
        return 16
    return int(helper.np_dtype_to_tensor_dtype(values.dtype))


def _declare(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
    from onnx import helper

    graph.input.append(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
    )
