"""Gemm: ``Y = alpha·A'·B' + beta·C`` with a constant B and a constant or absent C.

Behind: the output axis of B times s, ``C' = s·(beta·C - mean) + beta_norm`` with beta = 1; alpha
stays. In front, on A: the input axis of B times s, ``C' = beta·C + alpha·t·B``. C may be absent,
(), (1), (N), (1, N), (M, 1) or (M, N).
"""

from __future__ import annotations

import numpy as np

from ...algebra import Array64, FoldRefused, check_forward, into_output
from ..graph import Node
from ..labels import Label
from ..store import dtype_of
from ..walk import Edit, Rule, Walk
from ..weights import Weight

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    weight, axis = walk.weight(node, 1, computed=True), _output_axis(node)
    affine = label.along(1, weight.shape[axis])
    edit = walk.edit(node)
    factor = into_output(np.ones((affine.channels, 1)), None, affine)[0]
    edit.multiply(weight, factor if axis == 0 else factor.T)
    _set_c(node, edit, affine(_c(walk, node, weight), axis=-1), weight)
    return [edit]


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is the weight of {node.name}")
    weight, axis = walk.weight(node, 1, computed=True), 1 - _output_axis(node)
    affine = label.along(0 if node.attribute("transA", 0) else 1, weight.shape[axis])
    check_forward(affine, dtype_of(weight.data_type))
    edit = walk.edit(node)
    edit.multiply(weight, affine.scale[:, None] if axis == 0 else affine.scale)
    if affine.offset.any():
        alpha = float(node.attribute("alpha", 1.0))
        rows = weight.float64() if axis == 0 else weight.float64().T
        _set_c(node, edit, _c(walk, node, weight) + alpha * (affine.offset @ rows), weight)
    return [edit]


def _output_axis(node: Node) -> int:
    return 0 if node.attribute("transB", 0) else 1


def _c(walk: Walk, node: Node, weight: Weight) -> Array64:
    """beta·C with its last axis as long as the output's."""
    outputs = weight.shape[_output_axis(node)]
    if not node.input(2):
        return np.zeros(outputs)
    c = float(node.attribute("beta", 1.0)) * walk.weight(node, 2).float64()
    return np.broadcast_to(c, np.broadcast_shapes(c.shape, (outputs,)))


def _set_c(node: Node, edit: Edit, value: Array64, weight: Weight) -> None:
    if not node.input(2) and not value.any():
        return
    edit.put(2, value, weight.data_type)
    edit.changes.append(lambda: node.set_attribute("beta", None))


RULE = Rule("Gemm", "any", ("Gemm",), backward, forward)
