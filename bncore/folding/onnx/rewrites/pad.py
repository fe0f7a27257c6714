"""Pad: a border of mirrored, repeated or wrapped values is mapped like all others. A border of
one constant v stays right if ``s·v + t`` is one number for all channels; along the channel
axis itself only for v = 0 and t = 0.
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
    pads = _pads(walk, node, label.rank)
    if _across(label, pads):
        _judge_zero(walk, node, label)
        inner = _cropped(walk, node, label, pads)
        return walk.backward(node.input(0), inner)
    edits = walk.backward(node.input(0), label)
    return edits + _new_value(walk, node, label)


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is no data of {node.name}")
    pads = _pads(walk, node, label.rank)
    if _across(label, pads):
        _judge_zero(walk, node, label)
        if any(p < 0 for pair in pads for p in pair):
            raise FoldRefused(f"{node.name} cuts channels away")
        widths = [pairs if axis in label.axes else (0, 0) for axis, pairs in enumerate(pads)]
        scale = np.pad(label.scale, widths, constant_values=1.0)
        outer = Label.of(scale, np.zeros_like(scale), np.zeros_like(scale))
        return walk.forward(node.outputs[0], outer)
    edits = walk.forward(node.outputs[0], label)
    if _mode(node) == "constant":
        return edits + _new_value(walk, node, label.inverse())
    return edits


def _mode(node: Node) -> str:
    return node.text("mode", "constant")


def _across(label: Label, pads: list[tuple[int, int]]) -> bool:
    return any(pads[axis] != (0, 0) for axis in label.axes)


def _pads(walk: Walk, node: Node, rank: int) -> list[tuple[int, int]]:
    numbers = node.attribute("pads")
    axes = list(range(rank))
    if numbers is None:
        numbers = [int(n) for n in walk.constant(node, 1).values().reshape(-1)]
    if node.input(3):
        axes = [int(axis) % rank for axis in walk.constant(node, 3).values().reshape(-1)]
    pads = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pads[axis] = (int(numbers[i]), int(numbers[i + len(axes)]))
    return pads


def _value(walk: Walk, node: Node) -> float:
    if node.input(2):
        return float(walk.constant(node, 2).float64().reshape(-1)[0])
    return float(node.attribute("value", 0.0))


def _judge_zero(walk: Walk, node: Node, label: Label) -> None:
    if _mode(node) != "constant" or _value(walk, node) or not label.only_scales:
        raise FoldRefused(f"{node.name} pads the channels")


def _cropped(walk: Walk, node: Node, label: Label, pads: list[tuple[int, int]]) -> Label:
    index: list[slice] = [slice(None)] * label.rank
    for axis in label.axes:
        begin, end = pads[axis]
        if begin < 0 or end < 0:
            raise FoldRefused(f"{node.name} cuts channels away")
        index[axis] = slice(begin, label.shape[axis] - end)
    return label.mapped(lambda part: part[tuple(index)])


def _new_value(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """The constant border after the map."""
    if _mode(node) != "constant" or not any(
        p for pair in _pads(walk, node, label.rank) for p in pair
    ):
        return []
    old = _value(walk, node)
    with np.errstate(invalid="ignore"):  # an infinite border times 0 is refused below
        mapped = (label.scale * old + label.offset).reshape(-1)
    if not np.allclose(mapped, mapped[0], rtol=1e-12, atol=0):
        raise FoldRefused(f"the border of {node.name} would differ from channel to channel")
    new = float(mapped[0])
    if new == old:
        return []
    edit = walk.edit(node)
    if walk.program.opset < 11:
        if walk.data_type(node.input(0)) == DOUBLE:
            raise FoldRefused(f"the border of {node.name} is no double")
        edit.changes.append(lambda: node.set_attribute("value", new))
    else:
        edit.put(2, np.array(new), walk.data_type(node.input(0)), "border")
    return [edit]


RULE = Rule("Pad", "any", ("Pad",), backward, forward)
