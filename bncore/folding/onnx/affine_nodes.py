"""Nodes that are labels: batch norms in evaluation, arithmetic with constants, 1x1 depthwise
convolutions. Reads them as labels, and writes a label as the cheapest node.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..algebra import Affine, Array64, FoldRefused, norm_affine, rounded
from .constants import Constant
from .graph import Graph, Node
from .labels import LARGEST, Label
from .program import Program
from .store import BFLOAT16, FLOATS, dtype_of

__all__ = [
    "COST",
    "bypass",
    "cost",
    "is_label",
    "kind_of",
    "leaves_identity",
    "read",
    "signal",
    "write",
]

ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
LABELS = ("BatchNormalization", "Conv", "Neg", *ELEMENTWISE)
# Passes over the data; a batch norm costs a little more than a sum for the four vectors it reads
COST = {"nothing": 0.0, "Add": 1.0, "Mul": 1.0, "BatchNormalization": 1.25, "Conv": 1.5}
NEW_EPSILON = 1e-5  # of a norm that is written where none was
PARAMETERS = ("weight", "bias", "mean")


def signal(program: Program, node: Node) -> int | None:
    """Number of the input that a node maps, None if it is no label: one operand must be constant."""
    if node.op in ("BatchNormalization", "Neg"):
        return 0
    if node.op == "Conv":
        return 0 if _is_pointwise_depthwise(program, node) else None
    if node.op not in ELEMENTWISE or len(node.proto.input) != 2:
        return None
    constant = [program.constants.is_constant(node.graph, name) for name in node.inputs]
    if constant == [False, True]:
        return 0
    return 1 if constant == [True, False] and node.op != "Div" else None


def is_label(program: Program, node: Node) -> bool:
    """Whether it is worth asking `read`."""
    if node.op == "BatchNormalization":
        return True
    return bool(node.outputs) and node.op in LABELS and signal(program, node) is not None


def read(program: Program, node: Node) -> Label:
    """What a label node computes.

    Raises
    ------
    FoldRefused
        If it computes something else after all, or its channels cannot be told.
    """
    if node.op == "BatchNormalization":
        return _read_norm(program, node)
    if node.op == "Conv":
        return _read_convolution(program, node)
    index = signal(program, node)
    if index is None:
        raise FoldRefused(f"{node.op} {node.name} has no constant operand")
    rank = _rank(program, node.graph, node.input(index))
    if rank < 2:  # arithmetic with sizes, which other numbers depend on to the bit
        raise FoldRefused("it computes with numbers, not with channels")
    if node.op == "Neg":
        return Label(Affine(-np.ones(1), np.zeros(1), np.zeros(1)), (1,) * rank)
    constant = program.constants.find(node.graph, node.input(1 - index))
    value = _per_place(program, node, index, constant, rank)
    one, zero = np.ones_like(value), np.zeros_like(value)
    if node.op == "Add":
        return Label.of(one, -value, zero)  # a center: what is far away is told by it
    if node.op == "Sub":
        return Label.of(one, value, zero) if index == 0 else Label.of(-one, zero, value)
    if node.op == "Mul":
        return Label.of(value, zero, zero)
    if (value == 0).any():
        raise FoldRefused(f"{node.name} divides by zero")
    return Label.of(1.0 / value, zero, zero)


def cost(node: Node) -> float:
    return COST.get(node.op, 1.0)


def kind_of(program: Program, node: Node, label: Label) -> str:
    """The cheapest operator that computes a label in place of a label node."""
    data_type = _data_type(program, node)
    dtype = dtype_of(data_type)
    scale = rounded(label.affine.scale, dtype, "scale", subnormal_share=1.0)
    offset = rounded(label.affine.offset, dtype, "shift", subnormal_share=1.0)
    if not offset.any():
        return "nothing" if (scale == 1).all() else "Mul"
    if (scale == 1).all():
        return "Add"
    shape = program.shape(node.graph, node.outputs[0])
    if label.rank < 2 or any(axis != 1 for axis in label.axes):
        raise FoldRefused("what is left would need two nodes")
    if shape is None or not isinstance(shape[1], int):
        raise FoldRefused("the number of channels is not known")
    if data_type == BFLOAT16 and program.opset < 14:
        raise FoldRefused("batch norms of bfloat16 need opset 14")
    for what, value, own in zip(PARAMETERS, *_norm_parameters(program, node, label), strict=True):
        program.constants.judge(functools.partial(np.asarray, value), own, what)
    return "BatchNormalization"


def write(program: Program, node: Node, label: Label) -> None:
    """Turn a label node into the cheapest one that computes `label`; `kind_of` has judged it."""
    kind = kind_of(program, node, label)
    index = signal(program, node)
    assert index is not None
    if kind == "nothing":
        bypass(node, index)
    elif kind == "BatchNormalization":
        _write_norm(program, node, label, node.input(index))
    else:
        _write_arithmetic(program, node, label, node.input(index), kind)


def bypass(node: Node, index: int) -> None:
    """Take a node out, its input in place of its output; an Identity where both names must stay."""
    graph, x, y = node.graph, node.input(index), node.outputs[0]
    source = graph.producer.get(x)
    if not graph.pins[y]:
        graph.redirect(y, x)
        if not node.removed:
            graph.remove(node)
    elif source is not None and not graph.pins[x]:
        graph.remove(node, keep=x)
        graph.rename_output(source, x, y)
        graph.redirect(x, y)
    else:
        _become(node, "Identity", [x])


def leaves_identity(node: Node, index: int) -> bool:
    """Whether `bypass` would leave an Identity."""
    x = node.input(index)
    return bool(
        node.graph.pins[node.outputs[0]] and (node.graph.pins[x] or x not in node.graph.producer)
    )


def _write_arithmetic(program: Program, node: Node, label: Label, x: str, kind: str) -> None:
    value = label.offset if kind == "Add" else label.scale
    constant = program.constants.new(
        f"{node.outputs[0]}.{'shift' if kind == 'Add' else 'scale'}",
        lambda: value,
        value.shape,
        _data_type(program, node),
    )
    _become(node, "Add" if kind == "Add" else "Mul", [x, constant])


def _norm_parameters(program: Program, node: Node, label: Label) -> tuple[list[Array64], list[int]]:
    """gamma, beta and mean of a norm that computes a label, and their types.

    The variance of a norm stays what it is; without one it is 1.
    """
    shape = program.shape(node.graph, node.outputs[0])
    assert shape is not None and isinstance(shape[1], int)
    affine = label.along(1, shape[1])
    if node.op == "BatchNormalization":
        parameters = [program.constants.find(node.graph, name) for name in node.inputs[1:5]]
        variance = parameters[3].float64() + float(node.attribute("epsilon", NEW_EPSILON))
        types = [parameter.data_type for parameter in parameters[:3]]
    else:
        variance = np.full(shape[1], 1.0 + float(np.float32(NEW_EPSILON)))
        types = [_data_type(program, node)] * 3
    return [affine.scale * np.sqrt(variance), affine.shift, affine.center], types


def _write_norm(program: Program, node: Node, label: Label, x: str) -> None:
    values, types = _norm_parameters(program, node, label)
    if node.op != "BatchNormalization":
        one = np.ones(values[0].shape)
        variance = program.constants.new(f"{node.outputs[0]}.var", lambda: one, one.shape, types[0])
        _become(node, "BatchNormalization", [x, "", "", "", variance])
        node.set_attribute("epsilon", NEW_EPSILON)
    for i, (what, value, data_type) in enumerate(zip(PARAMETERS, values, types, strict=True)):
        load = functools.partial(np.asarray, value)
        program.constants.assign(node, i + 1, load, value.shape, data_type, what)


def _become(node: Node, op: str, inputs: list[str]) -> None:
    del node.proto.attribute[:]
    node.proto.op_type = op
    node.set_inputs(inputs)


def _read_norm(program: Program, node: Node) -> Label:
    if program.opset < 7:
        raise FoldRefused(
            f"batch norms of opset {program.opset} are too old (7 is the first known)"
        )
    if any(node.outputs[1:]) or node.attribute("training_mode", 0):
        raise FoldRefused("it is in training mode and normalizes by the batch's own statistics")
    if not node.attribute("spatial", 1):
        raise FoldRefused("it normalizes every position by itself (spatial=0)")
    rank = _rank(program, node.graph, node.input(0))
    if rank < 2:
        raise FoldRefused(f"its input has {rank} axes, no channel axis")
    parts = [program.constants.find(node.graph, name) for name in node.inputs[1:5]]
    if len(parts) < 4 or any(len(part.shape) != 1 for part in parts):
        raise FoldRefused("its parameters are no four vectors")
    if len({part.shape for part in parts}) > 1:
        raise FoldRefused("its parameters have different lengths")
    weight, bias, mean, var = (part.float64() for part in parts)
    eps = float(node.attribute("epsilon", NEW_EPSILON))
    if (var + eps == 0).any():
        raise FoldRefused(f"variance and epsilon are 0 (channel {int(np.argmax(var + eps == 0))})")
    affine = norm_affine(weight, bias, mean, var, eps)
    return Label.vector(affine, 1, rank)


def _read_convolution(program: Program, node: Node) -> Label:
    weight = program.constants.find(node.graph, node.input(1))
    scale = weight.float64().reshape(-1)
    shift = np.zeros_like(scale)
    if node.input(2):
        shift = program.constants.find(node.graph, node.input(2)).float64()
    return Label.vector(Affine(scale, np.zeros_like(scale), shift), 1, len(weight.shape))


def _is_pointwise_depthwise(program: Program, node: Node) -> bool:
    try:
        weight = program.constants.find(node.graph, node.input(1))
        if node.input(2):
            program.constants.find(node.graph, node.input(2))
    except FoldRefused:
        return False
    channels = weight.shape[0] if weight.shape else 0
    return (
        weight.is_float
        and len(weight.shape) > 2
        and math.prod(weight.shape) == channels == node.attribute("group", 1)
        and set(node.attribute("strides", [1])) == {1}
        and not any(node.attribute("pads", [0]))
    )


def _per_place(program: Program, node: Node, index: int, constant: Constant, rank: int) -> Any:
    """A constant operand as a box; refused unless the other operand's shape survives it for sure."""
    if not constant.is_float:
        raise FoldRefused(f"{node.name} computes with integers")
    if math.prod(constant.shape) > LARGEST:
        raise FoldRefused(f"the constant of {node.name} is no small map")
    extra = rank - len(constant.shape)
    if extra < 0:
        raise FoldRefused(f"{node.name} gives its input more axes")
    box = (1,) * extra + constant.shape
    shape = program.shape(node.graph, node.input(index))
    for axis, size in enumerate(box):
        if size != 1 and (shape is None or shape[axis] != size):
            raise FoldRefused(f"{node.name} may broadcast its input along axis {axis}")
    value = constant.float64().reshape(box)
    if not np.isfinite(value).all():
        raise FoldRefused(f"the constant of {node.name} holds NaN or infinity")
    return value


def _rank(program: Program, graph: Graph, name: str) -> int:
    shape = program.shape(graph, name)
    if shape is None:
        raise FoldRefused(f"the number of axes of {name} is not known")
    return len(shape)


def _data_type(program: Program, node: Node) -> int:
    data_type = program.data_type(node.graph, node.input(signal(program, node) or 0))
    if data_type not in FLOATS:
        raise FoldRefused("its element type is not known to be a float")
    return int(data_type)
