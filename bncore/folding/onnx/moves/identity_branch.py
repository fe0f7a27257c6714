"""A norm beside a convolution of the same input, both summed: RepVGG's identity branch.

``conv(x) + s·x + t``: diag(s) is added to the kernel's middle tap, t to its bias; norm and sum go.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...algebra import Array64, FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Walk
from .plan import Move, signal_of

__all__ = ["MOVE"]


def identity_branch(walk: Walk, node: Node, label: Label) -> list[Edit]:
    x, y = node.input(signal_of(walk, node)), node.outputs[0]
    readers = walk.graph.data_readers(y)
    if walk.graph.pins[y] or len(readers) != 1 or readers[0][0].op != "Add":
        raise FoldRefused("no single sum is behind it")
    total, index = readers[0]
    convolution = _beside(walk, total.input(1 - index), x)
    if convolution is None:
        raise FoldRefused("no convolution of the same input is beside it")
    weight = walk.weight(convolution, 1)
    affine = label.along(1, weight.shape[0])
    walk.crossed.setdefault(convolution.op)
    edit = walk.edit(convolution)
    edit.changes.append(weight.changed(lambda w: w + _diagonal(affine.scale, weight.shape)))
    bias = walk.vector(convolution, 2, weight.shape[0])
    edit.put(2, bias + affine.offset, weight.data_type)
    # the norm goes with the sum, its only reader
    gone = Edit(walk.program, total, -affine_nodes.cost(node) - affine_nodes.COST["Add"])
    gone.changes.append(lambda: affine_nodes.bypass(total, 1 - index))
    return [edit, gone]


def _beside(walk: Walk, value: str, x: str) -> Node | None:
    """A convolution of x that keeps its shape, among the summands of a value."""
    pending = [value]
    while pending:
        name = pending.pop(0)
        node = walk.graph.producer.get(name)
        if node is None or walk.graph.pins[name] or len(walk.graph.data_readers(name)) > 1:
            continue
        if node.op == "Add":
            pending += node.inputs
        elif node.op == "Conv" and node.input(0) == x and _keeps_shape(walk, node):
            return node
    return None


def _keeps_shape(walk: Walk, node: Node) -> bool:
    try:
        shape = walk.weight(node, 1).shape
        walk.vector(node, 2, shape[0])
    except FoldRefused:
        return False
    kernel = shape[2:]
    dilations = node.attribute("dilations", [1] * len(kernel))
    half = [d * (k - 1) // 2 for d, k in zip(dilations, kernel, strict=True)]
    auto = node.text("auto_pad", "NOTSET")
    same = auto.startswith("SAME") or (
        auto == "NOTSET" and list(node.attribute("pads", [0] * 2 * len(kernel))) == half * 2
    )
    return (
        same
        and all(k % 2 for k in kernel)
        and set(node.attribute("strides", [1])) == {1}
        and shape[0] == shape[1] * node.attribute("group", 1)
    )


def _diagonal(scale: Array64, shape: tuple[int, ...]) -> Array64:
    """The kernel that maps every channel to ``scale`` times itself; weight (out, in/groups, *k)."""
    kernel = np.zeros(shape)
    index: Any = (slice(None), slice(None), *(size // 2 for size in shape[2:]))
    middle = kernel[index]  # a view
    outputs = np.arange(shape[0])
    middle[outputs, outputs % shape[1]] = scale
    return kernel


MOVE = Move("identity branch", "norms", identity_branch, onward=True)
