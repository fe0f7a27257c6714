"""``s·x`` goes back, also through ReLU where s > 0; ``+ t`` stays as an Add."""

from __future__ import annotations

from ..graph import Node
from ..labels import Label
from ..rewrites.elementwise import becomes
from ..walk import Edit, Walk
from .plan import Move, signal_of

__all__ = ["MOVE"]


def scale_backward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    walk.judge_center(node.outputs[0], label)
    x = node.input(signal_of(walk, node))
    return [*walk.backward(x, label.scales()), becomes(walk, node, label.shifts())]


MOVE = Move("scale backward", "backward", scale_backward, "an Add stays")
