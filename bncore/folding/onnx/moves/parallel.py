"""Two convolutions of one input, summed: the smaller kernel is added into the larger one.
RepVGG's branches.

Both see the same places when strides, dilations and groups are equal and the smaller kernel lies
inside of the larger one as their paddings say. One convolution and the sum go.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...algebra import Array64, FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..program import Program
from ..walk import Edit, Walk
from .plan import Move

__all__ = ["MOVE"]


def wants(program: Program, node: Node) -> bool:
    """Sums of two convolutions."""
    producers = [node.graph.producer.get(name) for name in node.inputs]
    return node.op == "Add" and all(p is not None and p.op == "Conv" for p in producers)


def read(program: Program, node: Node) -> Label:
    """Nothing is mapped here."""
    return Label.identity(1)


def parallel(walk: Walk, node: Node, label: Label) -> list[Edit]:
    large, small = (walk.graph.producer[name] for name in node.inputs)
    index = 0
    for convolution in (large, small):
        name = convolution.outputs[0]
        if walk.graph.pins[name] or len(walk.graph.data_readers(name)) > 1:
            raise FoldRefused(f"{name} has other readers")
    if math.prod(walk.weight(large, 1).shape) < math.prod(walk.weight(small, 1).shape):
        large, small, index = small, large, 1
    place = _place(walk, large, small)
    weight, other = walk.weight(large, 1), walk.weight(small, 1).float64()
    edit = walk.edit(large)
    edit.changes.append(weight.changed(lambda w: _added(w, other, place)))
    if large.input(2) or small.input(2):
        biases = [walk.vector(c, 2, weight.shape[0]) for c in (large, small)]
        edit.put(2, biases[0] + biases[1], weight.data_type)
    gone = Edit(walk.program, node, -affine_nodes.COST["Add"] * walk.relative(node.outputs[0]))
    gone.changes.append(lambda: affine_nodes.bypass(node, index))
    walk.crossed.setdefault("Conv")
    return [edit, gone]


def _place(walk: Walk, large: Node, small: Node) -> Any:
    """Where the smaller kernel lies in the larger one."""
    a, b = (walk.weight(node, 1).shape for node in (large, small))
    spatial = len(a) - 2
    same = all(
        large.attribute(name, default) == small.attribute(name, default)
        for name, default in (
            ("group", 1),
            ("strides", [1] * spatial),
            ("dilations", [1] * spatial),
        )
    )
    if large.input(0) != small.input(0) or a[:2] != b[:2] or len(a) != len(b) or not same:
        raise FoldRefused(f"{large.name} and {small.name} do not see the same places")
    if {large.text("auto_pad", "NOTSET"), small.text("auto_pad", "NOTSET")} != {"NOTSET"}:
        raise FoldRefused(f"the padding of {large.name} or {small.name} is automatic")
    if any(d != 1 for d in large.attribute("dilations", [1])):
        raise FoldRefused(f"{large.name} is dilated")
    zeros = [0] * 2 * spatial
    pads = np.subtract(large.attribute("pads", zeros), small.attribute("pads", zeros))
    begin, end = pads[:spatial], pads[spatial:]
    if (pads < 0).any() or (np.subtract(a[2:], b[2:]) != begin + end).any():
        raise FoldRefused(f"the kernel of {small.name} does not lie inside of that of {large.name}")
    cuts = (slice(int(i), int(i) + k) for i, k in zip(begin, b[2:], strict=True))
    return (slice(None), slice(None), *cuts)


def _added(large: Array64, small: Array64, place: Any) -> Array64:
    total = large.copy()
    total[place] += small
    return total


MOVE = Move("parallel convolutions", "norms", parallel, onward=True, wants=wants, read=read)
