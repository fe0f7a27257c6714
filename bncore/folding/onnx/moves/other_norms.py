"""Layer, RMS, instance and group norms: gamma and beta go into the next linear operations, ``W *=
gamma``, ``b += W·beta``.

The norm stays with gamma = 1 and beta = 0. Nothing may be added for it, so zero padding lets
gamma alone pass.
"""

from __future__ import annotations

import numpy as np

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..program import Program
from ..walk import Edit, Walk
from .plan import Move

__all__ = ["MOVE"]

NORMS = ("LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization")
WON = 0.25  # passes: two vectors that need not be read


def wants(program: Program, node: Node) -> bool:
    return node.op in NORMS


def read(program: Program, node: Node) -> Label:
    """``gamma·x + beta`` behind the normalization."""
    shape = program.shape(node.graph, node.input(0))
    if shape is None:
        raise FoldRefused("the number of axes of its input is not known")
    gamma = _parameter(program, node, 1)
    beta = _parameter(program, node, 2) if node.input(2) else np.zeros_like(gamma)
    if node.op in ("InstanceNormalization", "GroupNormalization"):
        if gamma.shape != (shape[1],):
            raise FoldRefused("its parameters are not one per channel")
        box = (1, gamma.size, *[1] * (len(shape) - 2))
    else:
        wide = np.broadcast_shapes(gamma.shape, beta.shape)
        gamma, beta = np.broadcast_to(gamma, wide), np.broadcast_to(beta, wide)
        box = (1,) * (len(shape) - gamma.ndim) + gamma.shape
    return Label.of(gamma.reshape(box), np.zeros(box), beta.reshape(box))


def forward(walk: Walk, node: Node, label: Label) -> list[Edit]:
    if label.is_identity:
        raise FoldRefused("it has no gamma and beta")
    edit = Edit(walk.program, node, -WON)
    find = walk.program.constants.find
    for index, fill in ((1, 1.0), (2, 0.0)):
        if not node.input(index):
            continue
        if index == 2 and node.op == "LayerNormalization":
            edit.changes.append(lambda: node.set_inputs(node.inputs[:2]))
        else:
            old = find(node.graph, node.input(index))
            edit.put(index, np.full(old.shape, fill), old.data_type, "parameter")
    return [*walk.forward(node.outputs[0], label), edit]


def _parameter(program: Program, node: Node, index: int) -> np.ndarray:
    values = program.constants.find(node.graph, node.input(index)).float64()
    if not np.isfinite(values).all():
        raise FoldRefused("its parameters hold NaN or infinity")
    return values


MOVE = Move(
    "other norm forward", "norms", forward, "the norm without gamma and beta stays", onward=True,
    wants=wants, read=read,
)  # fmt: skip
