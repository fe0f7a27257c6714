"""Batch norms and arithmetic with constants: labels themselves, so maps compose with them.

Behind a label node: the composed map goes on to the node's producer and takes the node along; or
only its scale does and the node becomes an Add; or the node becomes the composed map. In front:
the node becomes the composed map. Arithmetic of two computed values is a sum (sums.py) or a
product (products.py).
"""

from __future__ import annotations

from types import ModuleType

from ...algebra import FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk
from . import products, sums

__all__ = ["RULE", "away", "becomes"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    index = affine_nodes.signal(walk.program, node)
    if index is None:
        edits: list[Edit] = _computed(node).backward(walk, node, output, label)
        return edits
    combined = affine_nodes.read(walk.program, node).then(label)
    x = node.input(index)
    reason = FoldRefused("")
    for attempt in (_away, _scale_away, _becomes):
        try:
            return attempt(walk, node, x, combined)
        except FoldRefused as refused:
            reason = refused
    raise reason


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    own = affine_nodes.signal(walk.program, node)
    if own is None:
        edits: list[Edit] = _computed(node).forward(walk, node, index, label)
        return edits
    if index != own:
        raise FoldRefused(f"it is a parameter of {node.name}")
    return [becomes(walk, node, label.then(affine_nodes.read(walk.program, node)))]


def _computed(node: Node) -> ModuleType:
    """The rules for operands that are all computed."""
    if node.op == "BatchNormalization":
        raise FoldRefused(f"{node.name} is no map of channels")
    return products if node.op in ("Mul", "Div") else sums


def _away(walk: Walk, node: Node, x: str, combined: Label) -> list[Edit]:
    return [*walk.backward(x, combined), away(walk, node)]


def _scale_away(walk: Walk, node: Node, x: str, combined: Label) -> list[Edit]:
    """Where the shift cannot go along, e.g. a map over positions: ``s·x`` goes, ``+ t`` stays."""
    if combined.only_shifts or combined.only_scales:
        raise FoldRefused("there is nothing to part")
    walk.judge_center(node.outputs[0], combined)
    edits = walk.backward(x, combined.scales().compact())
    return [*edits, becomes(walk, node, combined.shifts())]


def _becomes(walk: Walk, node: Node, x: str, combined: Label) -> list[Edit]:
    return [becomes(walk, node, combined)]


def away(walk: Walk, node: Node) -> Edit:
    """The edit that takes a label node out."""
    index = affine_nodes.signal(walk.program, node)
    assert index is not None
    edit = Edit(walk.program, node, -affine_nodes.cost(node) * walk.relative(node.outputs[0]))
    # its input is read when the time has come: the node before it may have been taken out too
    edit.changes.append(lambda: affine_nodes.bypass(node, index))
    return edit


def becomes(walk: Walk, node: Node, label: Label) -> Edit:
    """The edit that makes a label node compute another label, at the lowest cost."""
    kind = affine_nodes.kind_of(walk.program, node, label)
    if kind == "nothing":
        return away(walk, node)
    change = affine_nodes.COST[kind] - affine_nodes.cost(node)
    edit = Edit(walk.program, node, change * walk.relative(node.outputs[0]))
    edit.changes.append(lambda: affine_nodes.write(walk.program, node, label))
    return edit


RULE = Rule(
    "element-wise",
    "any",
    ("BatchNormalization", "Add", "Sub", "Mul", "Div", "Neg", "Sum", "Mean"),
    backward,
    forward,
)
