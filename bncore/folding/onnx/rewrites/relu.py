"""ReLU, LeakyReLU: ``relu(s·x) = s·relu(x)`` for s > 0; no shift passes. A channel of scale 0 is
a constant, and passes as the constant its activation gives. PReLU with a scale below 0:
prelu.py.
"""

from __future__ import annotations

import numpy as np

from ...algebra import Affine, FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    affine = _judge(node, label)
    if (affine.shift < 0).any():
        raise FoldRefused(f"{node.op} {node.name} never gives the constant of a channel of scale 0")
    return walk.backward(node.input(0), Label(affine, label.shape))


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    affine = _judge(node, label)
    constant = affine.shift
    if (constant < 0).any():
        slope = float(node.attribute("alpha", 0.01)) if node.op == "LeakyRelu" else 0.0
        constant = np.where(constant < 0, slope * constant, constant)
    passed = Affine(affine.scale, np.zeros_like(constant), constant)
    return walk.forward(node.outputs[0], Label(passed, label.shape))


def _judge(node: Node, label: Label) -> Affine:
    """The map, with shifts at channels of scale 0 only."""
    scale, offset = label.affine.scale, label.affine.offset
    if (scale < 0).any():
        raise FoldRefused(f"{node.op} {node.name} does not let a negative scale pass")
    if (offset[scale != 0] != 0).any():
        raise FoldRefused(f"{node.op} {node.name} does not let a shift pass")
    return Affine(scale, np.zeros_like(scale), np.where(scale == 0, label.affine.shift, 0.0))


RULE = Rule("ReLU", "relu", ("Relu", "LeakyRelu"), backward, forward)
