"""Maxima over space: a map without negative scales commutes with them."""

from __future__ import annotations

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk
from .reduced import after, before

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    label = before(walk, node, label)
    _judge(node, label)
    return walk.backward(node.input(0), label)


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is no data of {node.name}")
    _judge(node, label)
    return walk.forward(node.outputs[0], after(walk, node, label))


def _judge(node: Node, label: Label) -> None:
    if any(node.outputs[1:]):
        raise FoldRefused(f"the places of the maxima of {node.name} are used")
    if (label.affine.scale < 0).any():
        raise FoldRefused(f"{node.name} does not let a negative scale pass")


RULE = Rule(
    "maximum", "any", ("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"), backward, forward
)
