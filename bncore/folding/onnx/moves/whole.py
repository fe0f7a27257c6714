"""Moves that leave nothing: the whole map goes back, goes on, or was none."""

from __future__ import annotations

from ...algebra import FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..rewrites.elementwise import away
from ..walk import Edit, Walk
from .plan import Move, signal_of

__all__ = ["BACKWARD", "FORWARD", "FORWARD_WITH_A_MAP", "IDENTITY", "IN_PART"]


def nothing_to_do(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """A map that is the identity once it is rounded."""
    index = signal_of(walk, node)
    if affine_nodes.kind_of(walk.program, node, label) != "nothing":
        raise FoldRefused("it is not the identity")
    if affine_nodes.leaves_identity(node, index):
        raise FoldRefused("both names around it must stay")
    return [away(walk, node)]


def backward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """The map goes into what makes the input."""
    index = signal_of(walk, node)
    edits = walk.backward(node.input(index), label)
    if affine_nodes.leaves_identity(node, index):
        raise FoldRefused("both names around it must stay")
    return [*edits, away(walk, node)]


def forward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """The map goes into all that reads the output."""
    return [*walk.forward(node.outputs[0], label), away(walk, node)]


IDENTITY = Move("identity", "backward", nothing_to_do)
BACKWARD = Move("backward", "backward", backward)
FORWARD = Move("forward", "forward", forward, onward=True)
# With a constant map behind padded operations, or a smaller norm in one branch of a concatenation
FORWARD_WITH_A_MAP = Move(
    "forward with a map", "forward", forward, "a map is added", onward=True, maps=True
)
IN_PART = Move("backward in part", "backward", backward, "a smaller norm stays", partial=True)
