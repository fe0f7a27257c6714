"""What a rule is: how one family of operators takes labels, hands them on, or refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from .graph import Node
    from .labels import Label
    from .walk import Edit, Walk

__all__ = ["BackwardRule", "ForwardRule", "Rule"]


class BackwardRule(Protocol):
    def __call__(self, walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
        """Edits that make an output of `node` give ``label`` of what it gives now."""


class ForwardRule(Protocol):
    def __call__(self, walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
        """Edits that make `node` treat its input as ``label`` of what it is."""


class Rule(NamedTuple):
    """What one family of operators does with labels.

    Attributes
    ----------
    name : str
    level : str
        The level that has to be on for it: 'any', or 'relu'.
    operators : tuple of str
    backward, forward : functions, or None where there is no such direction
    """

    name: str
    level: str
    operators: tuple[str, ...]
    backward: BackwardRule | None
    forward: ForwardRule | None
