"""Moves: how a label's node can go, or become a cheaper one. Each asks a walk and gives a plan, or refuses.

In order of what they leave behind: nothing, then one Add, one Mul or a map. The engine chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..algebra import FoldRefused, check_forward
from . import affine_nodes
from .graph import Node
from .labels import Label
from .program import Program
from .rewrites import RULES
from .rewrites.elementwise import away, becomes
from .store import dtype_of
from .walk import Edit, Walk

__all__ = ["LEFTOVERS", "MOVES", "Move", "Plan"]


@dataclass(eq=False)
class Plan:
    """Edits that belong together.

    Attributes
    ----------
    cost : float
        Passes over the data that they add; negative when something is won.
    path : list of str
        Operators on the way.
    """

    edits: list[Edit]
    path: list[str]

    def __post_init__(self) -> None:
        nodes = [edit.node for edit in self.edits]
        if len(set(nodes)) < len(nodes):
            twice = next(node for node in nodes if nodes.count(node) > 1)
            raise FoldRefused(f"{twice.name} would have to change twice")

    @property
    def cost(self) -> float:
        return sum(edit.cost for edit in self.edits)

    def apply(self) -> None:
        for edit in self.edits:
            edit.apply()


class Move(NamedTuple):
    """One way of folding.

    Attributes
    ----------
    name : str
    level : str
    leaves : str
        What stays in the node's place, '' for nothing.
    function : callable
    """

    name: str
    level: str
    leaves: str
    function: Callable[[Walk, Node, Label], list[Edit]]
    maps: bool = False
    partial: bool = False

    def plan(self, program: Program, node: Node, label: Label, levels: frozenset[str]) -> Plan:
        """The plan for one node; FoldRefused with the first obstacle."""
        if self.level not in levels:
            raise FoldRefused(f"level {self.level} is off")
        walk = Walk(program, RULES, levels, node, maps=self.maps, partial=self.partial)
        edits = self.function(walk, node, label)
        return Plan(edits, list(walk.crossed))


def _nothing_to_do(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """A map that is the identity once it is rounded."""
    index = _index(walk, node)
    if affine_nodes.kind_of(walk.program, node, label) != "nothing":
        raise FoldRefused("it is not the identity")
    if affine_nodes.leaves_identity(node, index):
        raise FoldRefused("both names around it must stay")
    return [away(walk, node)]


def _backward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """``label`` goes into what makes the input."""
    index = _index(walk, node)
    edits = walk.backward(node.input(index), label)
    if affine_nodes.leaves_identity(node, index):
        raise FoldRefused("both names around it must stay")
    return [*edits, away(walk, node)]


def _forward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """``label`` goes into all that reads the output."""
    return [*walk.forward(node.outputs[0], label), away(walk, node)]


def _scale_forward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """``s·x + t = s·(x + t/s)``: the scale goes on, one Add stays. Zero padding, ReLU and maxima let it pass."""
    _judge_center(walk, node, label)
    inner, outer = label.split_shift()
    return [*walk.forward(node.outputs[0], outer), becomes(walk, node, inner)]


def _scale_backward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """``s·x`` goes back, ``+ t`` stays."""
    _judge_center(walk, node, label)
    x = node.input(_index(walk, node))
    return [*walk.backward(x, label.scales()), becomes(walk, node, label.shifts())]


def _shift_backward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """``s·(x + t/s)``: the shift goes back, a Mul stays."""
    inner, outer = label.split_shift()
    if not outer.only_scales:
        raise FoldRefused("a channel has scale 0")
    x = node.input(_index(walk, node))
    return [*walk.backward(x, inner), becomes(walk, node, outer)]


def _judge_center(walk: Walk, node: Node, label: Label) -> None:
    """A mean far away is to be subtracted in the norm's own way, or the Add that is left goes on later."""
    check_forward(label.affine, dtype_of(walk.data_type(node.outputs[0])))


def _index(walk: Walk, node: Node) -> int:
    index = affine_nodes.signal(walk.program, node)
    if index is None:
        raise FoldRefused("it has no constant operand")
    return index


# Applied wherever they win, in rounds, before anything that leaves something
MOVES = (
    Move("identity", "backward", "", _nothing_to_do),
    Move("backward", "backward", "", _backward),
    Move("forward", "forward", "", _forward),
)
# Of these the cheapest is taken
LEFTOVERS = (
    Move("scale forward", "forward", "an Add stays", _scale_forward),
    Move("scale backward", "backward", "an Add stays", _scale_backward),
    Move("shift backward", "backward", "a Mul stays", _shift_backward),
    Move("forward with a map", "forward", "a map is added", _forward, maps=True),
    Move("backward in part", "backward", "a smaller norm stays", _backward, partial=True),
)
