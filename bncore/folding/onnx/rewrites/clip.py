"""Clip to constants: a map that is one for all channels, with s > 0, moves the bounds.

``s·clip(x, a, b) + t = clip(s·x + t, s·a + t, s·b + t)``.
"""

from __future__ import annotations

import numpy as np

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..store import DOUBLE
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    scale, offset = _numbers(node, label)
    return [*walk.backward(node.input(0), label), _moved(walk, node, scale, offset)]


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is a bound of {node.name}")
    scale, offset = _numbers(node, label)
    edits = walk.forward(node.outputs[0], label)
    return [*edits, _moved(walk, node, 1.0 / scale, -offset / scale)]


def _numbers(node: Node, label: Label) -> tuple[float, float]:
    scale, offset = label.single()
    if scale <= 0:
        raise FoldRefused(f"{node.name} does not let a scale pass that is not positive")
    return scale, offset


def _moved(walk: Walk, node: Node, scale: float, offset: float) -> Edit:
    edit = walk.edit(node)
    if walk.program.opset < 11:
        if walk.data_type(node.input(0)) == DOUBLE:
            raise FoldRefused(f"the bounds of {node.name} are no doubles")
        for name in ("min", "max"):
            bound = node.attribute(name)
            if bound is not None and abs(bound) < np.finfo(np.float32).max:
                new = float(scale * bound + offset)
                edit.changes.append(lambda name=name, new=new: node.set_attribute(name, new))  # type: ignore[misc]
        return edit
    data_type = walk.data_type(node.input(0))
    for index in (1, 2):
        if node.input(index):
            bound64 = walk.constant(node, index).float64()
            if np.isfinite(bound64).all():
                edit.put(index, np.asarray(scale * bound64 + offset), data_type, "bound")
    return edit


RULE = Rule("Clip", "relu", ("Clip",), backward, forward)
