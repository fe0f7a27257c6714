"""``s·x + t = s·(x + t/s)``: the scale goes on, one Add stays.

Zero padding, ReLU and counted means let the scale pass. A channel of scale 0 goes on as a
constant. An Add that is left may go back into the producer later.
"""

from __future__ import annotations

from ..graph import Node
from ..labels import Label
from ..rewrites.elementwise import becomes
from ..walk import Edit, Walk
from .plan import Move

__all__ = ["MOVE"]


def scale_forward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    walk.judge_center(node.outputs[0], label)
    inner, outer = label.split_shift()
    return [*walk.forward(node.outputs[0], outer), becomes(walk, node, inner)]


MOVE = Move("scale forward", "forward", scale_forward, "an Add stays", onward=True)
