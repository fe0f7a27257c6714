"""``s·(x + t/s)``: the shift goes back, e.g. through a MaxPool that lets no negative scale pass;
a Mul stays."""

from __future__ import annotations

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..rewrites.elementwise import becomes
from ..walk import Edit, Walk
from .plan import Move, signal_of

__all__ = ["MOVE"]


def shift_backward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    inner, outer = label.split_shift()
    if not outer.only_scales:
        raise FoldRefused("a channel has scale 0")
    x = node.input(signal_of(walk, node))
    return [*walk.backward(x, inner), becomes(walk, node, outer)]


MOVE = Move("shift backward", "backward", shift_backward, "a Mul stays")
