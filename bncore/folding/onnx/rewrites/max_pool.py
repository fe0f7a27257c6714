"""Maxima over space: a map without negative scales commutes with them."""

from __future__ import annotations

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from .reduced import reduction

__all__ = ["RULE"]


def _judge(node: Node, label: Label) -> None:
    if any(node.outputs[1:]):
        raise FoldRefused(f"the places of the maxima of {node.name} are used")
    if (label.affine.scale < 0).any():
        raise FoldRefused(f"{node.name} does not let a negative scale pass")


RULE = reduction("maximum", ("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"), _judge)
