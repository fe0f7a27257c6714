"""Concat: along its axis a map is cut into the branches' parts, along others every branch takes
it.

Where exactly one branch cannot take its part, that branch may keep a smaller norm of its own
(`partial`).
"""

from __future__ import annotations

import numpy as np

from ...algebra import FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..program import Program
from ..store import BFLOAT16
from ..walk import Edit, Rule, Walk

__all__ = ["RULE", "parts", "widened"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    edits: list[Edit] = []
    left: list[tuple[int, Label]] = []
    constants = walk.edit(node)
    for index, part in enumerate(parts(walk, node, label)):
        try:
            if walk.is_constant(node, index):
                _into_constant(walk, node, index, part, constants)
            else:
                edits += walk.backward(node.input(index), part)
        except FoldRefused as reason:
            if not walk.partial or left or len(node.inputs) < 2:
                raise FoldRefused(f"a branch of {node.name} cannot take it ({reason})") from None
            left.append((index, part))
    if constants.changes:
        edits.append(constants)
    if left and not edits:
        raise FoldRefused(f"no branch of {node.name} can take it")
    for index, part in left:
        edits.append(_norm_of_its_own(walk, node, index, part))
    return edits


def _into_constant(walk: Walk, node: Node, index: int, label: Label, edit: Edit) -> None:
    """A branch that is a constant is mapped at once."""
    constant = walk.constant(node, index)
    scale, center, shift = label.arrays()
    edit.put(index, scale * (constant.float64() - center) + shift, constant.data_type, "constant")


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    return walk.forward(node.outputs[0], widened(walk, node, index, label))


def widened(walk: Walk, node: Node, index: int, label: Label) -> Label:
    """A map of one branch as a map of all: the identity for the others."""
    axis = int(node.attribute("axis", 1)) % label.rank
    parts = []
    for i, size in enumerate(_sizes(walk, node, axis)):
        part = label if i == index else Label.identity(label.rank)
        parts.append(part.expanded([size if a == axis else s for a, s in enumerate(label.shape)]))
    pieces = zip(*(part.arrays() for part in parts), strict=True)
    return Label.of(*(np.concatenate(piece, axis) for piece in pieces))


def parts(walk: Walk, node: Node, label: Label) -> list[Label]:
    """What every branch gets of a map of all."""
    axis = int(node.attribute("axis", 1)) % label.rank
    if axis not in label.axes:
        return [label] * len(node.inputs)
    cuts, start = [], 0
    for size in _sizes(walk, node, axis):
        cut = slice(start, start + size)
        cuts.append(label.mapped(lambda a, cut=cut: a[(*[slice(None)] * axis, cut)]))  # type: ignore[misc]
        start += size
    return cuts


def _sizes(walk: Walk, node: Node, axis: int) -> list[int]:
    return [walk.sizes(name, [axis])[0] for name in node.inputs]


def _norm_of_its_own(walk: Walk, node: Node, index: int, label: Label) -> Edit:
    """A node for the part of one branch, made of a Mul so that the cheapest kind can take its place."""
    program, value = walk.program, node.input(index)
    data_type = walk.data_type(value)
    for part in (*label.arrays(), label.offset):
        program.constants.judge(lambda part=part: part, data_type, "scale")  # type: ignore[misc]
    kind = _kind(walk, value, label, data_type)
    edit = Edit(program, node, affine_nodes.COST[kind] * walk.relative(value))
    edit.changes.append(lambda: _insert(program, node, index, label, data_type, walk))
    return edit


def _kind(walk: Walk, value: str, label: Label, data_type: int) -> str:
    if label.only_scales or label.only_shifts:
        return "Mul"
    if label.rank < 2 or any(axis != 1 for axis in label.axes):
        raise FoldRefused("what is left of it would need two nodes")
    if data_type == BFLOAT16 and walk.program.opset < 14:
        raise FoldRefused("batch norms of bfloat16 need opset 14")
    walk.sizes(value, [1])
    return "BatchNormalization"


def _insert(
    program: Program, node: Node, index: int, label: Label, data_type: int, walk: Walk
) -> None:
    value = node.input(index)
    one = program.constants.new(f"{value}.scale", lambda: label.scale, label.scale.shape, data_type)
    new = program.insert("Mul", [value, one], value, before=node)
    new.was_norm = walk.start.was_norm
    node.set_input(index, new.outputs[0])
    affine_nodes.write(program, new, label)


RULE = Rule("Concat", "any", ("Concat",), backward, forward)
