"""MatMul with a constant operand.

``x @ W``: behind, the columns of W times s; in front, the rows, and ``t @ W`` to the output. ``W
@ x``: the same for rows and columns. A shift of the output goes into a constant Add that follows,
makes the MatMul a Gemm where both operands are matrices, or is an Add of its own.
"""

from __future__ import annotations

from ...algebra import Array64, FoldRefused, check_forward
from ..graph import Node
from ..labels import Label
from ..store import dtype_of
from ..walk import Edit, Rule, Walk
from ..weights import Weight
from .following import into_following_add

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    weight, index = _weight(walk, node)
    axis = -1 if index == 1 else -2
    size = weight.shape[axis]
    affine = label.along(axis, size)
    edit = walk.edit(node)
    factor = affine.scale if axis == -1 else affine.scale[:, None]
    edit.multiply(weight, factor)
    edits = [edit]
    _shift(walk, node, weight, Label.vector(affine, axis % label.rank, label.rank).offset, edits)
    return edits


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    weight, own = _weight(walk, node)
    if index == own:
        raise FoldRefused(f"it is the weight of {node.name}")
    axis, w_axis = (-1, -2) if own == 1 else (-2, -1)
    affine = label.along(axis, weight.shape[w_axis])
    check_forward(affine, dtype_of(weight.data_type))
    edit = walk.edit(node)
    edit.multiply(weight, affine.scale[:, None] if w_axis == -2 else affine.scale)
    edits = [edit]
    if affine.offset.any():
        w = weight.float64()
        rank = len(walk.shape(node.outputs[0]))
        if own == 1:
            shift = (affine.offset @ w)[..., None, :]
        else:
            shift = (w @ affine.offset)[..., :, None]
        shift = shift.reshape((1,) * (rank - shift.ndim) + shift.shape)
        if not into_following_add(walk, node, shift, edits):
            _shift(walk, node, weight, shift, edits)
    return edits


def _weight(walk: Walk, node: Node) -> tuple[Weight, int]:
    for index in (1, 0):
        try:
            weight = walk.weight(node, index)
        except FoldRefused:
            continue
        if len(weight.shape) < 2 or len(walk.shape(node.input(1 - index))) < 2:
            raise FoldRefused(f"an operand of {node.name} is a vector")
        return weight, index
    raise FoldRefused(f"both operands of {node.name} are computed")


def _shift(walk: Walk, node: Node, weight: Weight, shift: Array64, edits: list[Edit]) -> None:
    if not shift.any():
        return
    edit = edits[0]
    both_matrices = len(weight.shape) == 2 == len(walk.shape(node.outputs[0]))
    if both_matrices and walk.program.opset >= 7 and shift.ndim == 2:
        edit.put(2, shift.reshape(-1) if shift.shape[0] == 1 else shift, weight.data_type)
        edit.changes.append(lambda: setattr(node.proto, "op_type", "Gemm"))
    else:
        walk.add_after(node, shift, edits)


RULE = Rule("MatMul", "any", ("MatMul",), backward, forward)
