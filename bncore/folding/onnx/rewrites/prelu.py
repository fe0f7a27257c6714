"""PReLU of slope a: ``prelu_a(s·x) = s·prelu_a(x)`` for s > 0, and for s < 0 with another slope:
``prelu_a(s·x) = s·a·prelu_{1/a}(x)``, where a > 0 is constant. No shift passes.
"""

from __future__ import annotations

import numpy as np

from ...algebra import Array64, FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    passed, edits = _passed(walk, node, label)
    return [*walk.backward(node.input(0), passed), *edits]


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is the slope of {node.name}")
    passed, edits = _passed(walk, node, label)
    return [*walk.forward(node.outputs[0], passed), *edits]


def _passed(walk: Walk, node: Node, label: Label) -> tuple[Label, list[Edit]]:
    """The map on the other side, and the slope's change. Both directions multiply a scale below 0 by the slope."""
    if not label.only_scales:
        raise FoldRefused(f"{node.op} {node.name} does not let a shift pass")
    if (label.affine.scale >= 0).all():
        return label, []
    slope = _slope(walk, node, label)
    turned = np.broadcast_to(label.scale < 0, np.broadcast_shapes(label.shape, slope.shape))
    if (np.broadcast_to(slope, turned.shape)[turned] <= 0).any():
        raise FoldRefused(
            f"{node.op} {node.name} lets a negative scale pass for positive slopes only"
        )
    new = np.where(turned, 1.0 / np.where(turned, slope, 1.0), slope)
    scale = np.where(turned, label.scale * slope, label.scale)
    edit = walk.edit(node)
    edit.put(1, new, walk.data_type(node.input(0)), "slope")
    zero = np.zeros_like(scale)
    return Label.of(scale, zero, zero), [edit]


def _slope(walk: Walk, node: Node, label: Label) -> Array64:
    """Constant, as a box."""
    slope = walk.constant(node, 1).float64()
    return slope.reshape((1,) * (label.rank - slope.ndim) + slope.shape)


RULE = Rule("PReLU", "relu", ("PRelu",), backward, forward)
