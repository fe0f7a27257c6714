"""Means over space: any map of channels commutes with them; only a scale where padding counts as
zeros, or where it is a sum.
"""

from __future__ import annotations

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from . import border
from .reduced import reduction

__all__ = ["RULE"]


def _judge(node: Node, label: Label) -> None:
    if label.only_scales:
        return
    if node.op == "ReduceSum":
        raise FoldRefused(f"{node.name} is a sum and does not let a shift pass")
    counted = node.attribute("count_include_pad", 0)
    padded = border.is_padded(node, [2]) or node.attribute("ceil_mode", 0)
    if node.op == "AveragePool" and counted and padded:
        raise FoldRefused(f"{node.name} counts its padding as zeros and does not let a shift pass")


RULE = reduction("mean", ("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"), _judge)
