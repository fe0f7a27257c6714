"""Transpose: the channels of an affine map follow the axis."""

from __future__ import annotations

import numpy as np

from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    back = list(np.argsort(_perm(node, label.rank)))
    return walk.backward(node.input(0), label.mapped(lambda part: part.transpose(back)))


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    perm = _perm(node, label.rank)
    return walk.forward(node.outputs[0], label.mapped(lambda part: part.transpose(perm)))


def _perm(node: Node, rank: int) -> list[int]:
    return list(node.attribute("perm") or range(rank - 1, -1, -1))


RULE = Rule("Transpose", "any", ("Transpose",), backward, forward)
