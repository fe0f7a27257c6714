"""What a move is: a way for a node to go or to become a cheaper one, and the plan that it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...algebra import FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..program import Program
from ..rewrites import RULES
from ..walk import Edit, Walk

__all__ = ["Move", "Plan", "signal_of"]


@dataclass(eq=False)
class Plan:
    """Edits that belong together.

    Attributes
    ----------
    path : list of str
        Operators on the way.
    note : str
        What a report should say beside it.
    """

    edits: list[Edit]
    path: list[str]
    note: str = ""

    def __post_init__(self) -> None:
        seen: set[Node] = set()
        for edit in self.edits:
            if edit.node in seen:
                raise FoldRefused(f"{edit.node.name} would have to change twice")
            seen.add(edit.node)

    @property
    def cost(self) -> float:
        """Passes over the data that it adds; negative when something is won."""
        return sum(edit.cost for edit in self.edits)

    def apply(self) -> None:
        for edit in self.edits:
            edit.apply()


class Move(NamedTuple):
    """One way of folding; the package's docstring says how to add one.

    Attributes
    ----------
    name : str
    level : str
    function : callable
        (walk, node, label) -> edits, or FoldRefused with the first obstacle.
    leaves : str
        What stays in the node's place, '' for nothing.
    onward : bool
        Whether it goes to readers rather than producers; for the report's arrows.
    maps, partial : bool
        Options of the walk.
    wants, read : callable
        Which nodes it is for and the map they compute.
    """

    name: str
    level: str
    function: Callable[[Walk, Node, Label], list[Edit]]
    leaves: str = ""
    onward: bool = False
    maps: bool = False
    partial: bool = False
    wants: Callable[[Program, Node], bool] = affine_nodes.is_label
    read: Callable[[Program, Node], Label] = affine_nodes.read

    def plan(self, program: Program, node: Node, label: Label, levels: frozenset[str]) -> Plan:
        """The plan for one node."""
        walk = Walk(program, RULES, levels, node, maps=self.maps, partial=self.partial)
        edits = self.function(walk, node, label)
        return Plan(edits, list(walk.crossed), walk.note)


def signal_of(walk: Walk, node: Node) -> int:
    """Number of the input a label node maps."""
    index = affine_nodes.signal(walk.program, node)
    if index is None:
        raise FoldRefused("it has no constant operand")
    return index
