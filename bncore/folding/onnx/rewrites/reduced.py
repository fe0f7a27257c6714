"""Maps in front of and behind an operator that reduces space, and the rule made of that and of which maps commute with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...algebra import FoldRefused
from ..evaluate import axes_input
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["reduction"]


def reduction(name: str, operators: tuple[str, ...], judge: Callable[[Node, Label], None]) -> Rule:
    """The rule of operators with which every map commutes that `judge` does not refuse."""

    def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
        label = _before(walk, node, label)
        judge(node, label)
        return walk.backward(node.input(0), label)

    def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
        if index != 0:
            raise FoldRefused(f"it is no data of {node.name}")
        judge(node, label)
        return walk.forward(node.outputs[0], _after(walk, node, label))

    return Rule(name, "any", operators, backward, forward)


def _before(walk: Walk, node: Node, label: Label) -> Label:
    """The map behind a node as one in front of it."""
    axes = _axes(walk, node)
    if node.op.startswith("Reduce") and not node.attribute("keepdims", 1):
        label = label.mapped(lambda part: np.expand_dims(part, tuple(axes)))
    label.constant_over(axes, node.name)
    return label


def _after(walk: Walk, node: Node, label: Label) -> Label:
    """The map in front of a node as one behind it."""
    axes = _axes(walk, node)
    label.constant_over(axes, node.name)
    if node.op.startswith("Reduce") and not node.attribute("keepdims", 1):
        label = label.mapped(lambda part: part.squeeze(tuple(axes)))
    return label


def _axes(walk: Walk, node: Node) -> list[int]:
    """What is reduced: everything behind the channels for pools."""
    rank = len(walk.shape(node.input(0)))
    if not node.op.startswith("Reduce"):
        return list(range(2, rank))
    axes = axes_input(node, [None, walk.constant(node, 1).values() if node.input(1) else None])
    if not axes:
        return [] if node.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(axis % rank for axis in axes)
