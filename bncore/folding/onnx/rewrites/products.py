"""Products of computed values: a scale of one factor is a scale of the product. No rule of its
own; sums and products share operators with labels (elementwise.py).
"""

from __future__ import annotations

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Walk

__all__ = ["backward", "forward"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    if not label.only_scales:
        raise FoldRefused(f"{node.op} {node.name} does not let a shift pass")
    reason = FoldRefused("")
    for index in range(1 if node.op == "Div" else 2):
        name = node.input(index)
        try:
            return walk.backward(name, label.fitted(walk.shape(name)))
        except FoldRefused as refused:
            reason = refused
    raise FoldRefused(f"no factor of {node.name} can take it ({reason})")


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if not label.only_scales:
        raise FoldRefused(f"{node.op} {node.name} does not let a shift pass")
    if node.op == "Div" and index == 1:
        raise FoldRefused(f"{node.name} divides by it")
    rank = len(walk.shape(node.outputs[0]))
    return walk.forward(
        node.outputs[0],
        label.mapped(lambda part: part.reshape((1,) * (rank - part.ndim) + part.shape)),
    )
