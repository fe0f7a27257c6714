"""Softmax: a shift that is the same all along its axis changes nothing, and ends here."""

from __future__ import annotations

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if not label.only_shifts:
        raise FoldRefused(f"{node.op} {node.name} is after it, which is not linear")
    old = walk.program.opset < 13  # everything from the axis on counted as one
    axis = int(node.attribute("axis", 1 if old else -1)) % label.rank
    label.constant_over(range(axis, label.rank) if old else [axis], node.name)
    return []


RULE = Rule("Softmax", "any", ("Softmax", "LogSoftmax"), None, forward)
