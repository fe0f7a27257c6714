"""Abs: ``|s·x| = |s|·|x|``; no shift passes, and from behind no negative scale."""

from __future__ import annotations

import numpy as np

from ...algebra import Affine, FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    if (label.affine.scale < 0).any():
        raise FoldRefused(f"{node.op} {node.name} gives nothing negative")
    return walk.backward(node.input(0), _passed(node, label))


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    return walk.forward(node.outputs[0], _passed(node, label))


def _passed(node: Node, label: Label) -> Label:
    if not label.only_scales:
        raise FoldRefused(f"{node.op} {node.name} does not let a shift pass")
    scale = np.abs(label.affine.scale)
    return Label(Affine(scale, np.zeros_like(scale), np.zeros_like(scale)), label.shape)


RULE = Rule("Abs", "relu", ("Abs",), backward, forward)
