"""Builds small ONNX graphs with random weights and trained-looking statistics, in the type a file
would have or, with the very same numbers, in float64.

The float64 twin is the oracle of the zoo. Ops whose form changed between opsets are in `shapes.py`;
layers in `layers.py`. Nothing here knows of folding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

Shape = list[int | str] | tuple[int | str, ...]
DOUBLE = np.dtype(np.float64)


class Graph:
    """Collects nodes, constants, inputs and outputs of one graph; values are called by their names.

    Parameters
    ----------
    storage : dtype
        The floating type of the file; every random number is rounded to it.
    double : bool
        Declare and store float64 instead: the same rounded numbers, computed with in float64.
    constants : "initializer", "node" or "alias"
        How constants are stored; "alias" reads floating Constant nodes through an Identity.
    typed : bool
        Values in the field of their type, number by number, as old files have them, not as bytes.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        storage: np.dtype[Any] | type = np.float32,
        double: bool = False,
        opset: int = 17,
        constants: str = "initializer",
        typed: bool = False,
    ) -> None:
        self.storage, self.double, self.opset = np.dtype(storage), double, opset
        self.constants, self.typed = constants, typed
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[tuple[str, int, Shape | None]] = []
        self.initializers: list[onnx.TensorProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self.parent: Graph | None = None
        self.shelf: dict[Any, Any] = {}  # constants that a caller wants to use again, by any key
        self._count: dict[str, int] = {}

    @property
    def float_type(self) -> int:
        return helper.np_dtype_to_tensor_dtype(DOUBLE if self.double else self.storage)

    def unique(self, hint: str) -> str:
        """A name no other value of the whole model has."""
        if self.parent is not None:
            return self.parent.unique(hint)
        self._count[hint] = self._count.get(hint, -1) + 1
        return f"{hint}_{self._count[hint]}"

    def body(self) -> Graph:
        """A graph for an If or Loop: reads outer values by name, draws from the same generator."""
        inner = Graph(storage=self.storage, double=self.double, opset=self.opset)
        inner.parent, inner.rng = self, self.rng
        return inner

    def input(self, name: str, shape: Shape, elem_type: int | None = None) -> str:
        kind = self.float_type if elem_type is None else elem_type
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(
        self, value: str, name: str | None = None, shape: Shape | None = None, kind: int = 0
    ) -> None:
        """Make a value a graph output, under a name of its own if given; the shape is inferred
        where None.
        """
        if name is not None:
            rename(self.nodes, value, name)
        self.outputs.append((name or value, kind or self.float_type, shape))

    def const(self, value: ArrayLike, hint: str = "const", *, exact: bool = False) -> str:
        """A constant. Floats are rounded to the storage type unless `exact` (scales of Resize are
        float32 always).
        """
        array = np.asarray(value)
        if array.dtype.kind == "f" and not exact:
            array = array.astype(self.storage)
            array = array.astype(DOUBLE) if self.double else array
        name = self.unique(hint)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        if self.typed:
            values = array.ravel().tolist()
            tensor = helper.make_tensor(name, tensor.data_type, array.shape, values)
        if self.constants == "initializer":
            self.initializers.append(tensor)
            return name
        self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        aliased = self.constants == "alias" and array.dtype.kind == "f"
        return self("Identity", name) if aliased else name

    def __call__(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output; its name. "" is an optional input left out."""
        return self.many(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def many(
        self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node with several outputs; their names."""
        names = [self.unique(op.lower()) for _ in range(outputs)]
        self.nodes.append(
            helper.make_node(
                op, list(inputs), names, name=self.unique(op), domain=domain, **attributes
            )
        )
        return names

    def normal(self, shape: tuple[int, ...], std: float = 1.0) -> NDArray[Any]:
        return self.rng.normal(scale=std, size=shape)

    def graph(self, name: str) -> onnx.GraphProto:
        outputs = [helper.make_tensor_value_info(*output) for output in self.outputs]
        return helper.make_graph(self.nodes, name, self.inputs, outputs, self.initializers)


def rename(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Call a value otherwise, wherever it is made or read, bodies included."""
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [new if each == old else each for each in names]
        for attribute in node.attribute:
            rename(attribute.g.node, old, new)


def finish(graph: Graph, name: str, *, ir: int, value_info: bool, overridable: bool) -> Any:
    """The model: shapes of outputs filled in, in the checker's eyes complete.

    Parameters
    ----------
    value_info : bool
        Keep the inferred shapes of all values in the file, as some exporters do.
    overridable : bool
        List all initializers among the inputs, as files of IR 3 must.
    """
    made = graph.graph(name)
    if overridable:
        for tensor in made.initializer:
            made.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    imports = [helper.make_opsetid("", graph.opset)]
    imports += [helper.make_opsetid("zoo", 1)] if graph.functions else []
    model = helper.make_model(
        made, opset_imports=imports, ir_version=ir, functions=graph.functions, producer_name="zoo"
    )
    helper.set_model_props(model, {"task": name, "note": "must survive"})
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    for output, found in zip(made.output, inferred.output):
        if not output.type.tensor_type.HasField("shape"):
            assert found.type.tensor_type.HasField("shape"), f"{name}: no shape for {output.name}"
            output.CopyFrom(found)
    if value_info:
        made.value_info.extend(inferred.value_info)
    model.graph.CopyFrom(made)
    return model
