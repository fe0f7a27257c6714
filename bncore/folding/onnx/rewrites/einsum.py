"""Einsum of a value and a constant.

Behind: the constant is scaled along the label of the channel axis, which must occur in it. In
front: the same for the label of the input; a shift gives ``einsum(t, W)``, which goes into an
Add.
"""

from __future__ import annotations

import numpy as np

from ...algebra import Array64, FoldRefused, check_forward
from ..graph import Node
from ..labels import Label
from ..store import dtype_of
from ..walk import Edit, Rule, Walk
from ..weights import Weight
from .following import into_following_add

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    (_, w, out), _, weight = _read(walk, node)
    edit = walk.edit(node)
    edit.multiply(weight, _laid_out(label.scale, out, w, node))
    edits = [edit]
    walk.add_after(node, label.offset, edits)
    return edits


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    (x, w, out), own, weight = _read(walk, node)
    if index == own:
        raise FoldRefused(f"it is the weight of {node.name}")
    check_forward(label.affine, dtype_of(weight.data_type))
    edit = walk.edit(node)
    edit.multiply(weight, _laid_out(label.scale, x, w, node))
    edits = [edit]
    if label.offset.any():
        if not set(x) - set(w) <= set(out):
            raise FoldRefused(f"{node.name} sums over an axis that its constant does not have")
        t = _laid_out(label.offset, x, w, node)
        kept = "".join(letter for letter in out if letter in w)
        shift = np.einsum(f"{w}->{kept}", weight.float64() * t)
        shift = shift.reshape([shift.shape[kept.index(i)] if i in kept else 1 for i in out])
        if not into_following_add(walk, node, shift, edits):
            walk.add_after(node, shift, edits)
    return edits


def _read(walk: Walk, node: Node) -> tuple[tuple[str, str, str], int, Weight]:
    """Letters of the value, of the constant and of the output; the constant's place; the constant."""
    equation = node.text("equation", "").replace(" ", "")
    inputs, arrow, out = equation.partition("->")
    terms = inputs.split(",")
    if not arrow or "." in equation or len(terms) != 2 or len(node.inputs) != 2:
        raise FoldRefused(f"the equation of {node.name} is not of the form ab,bc->ac")
    if any(len(set(term)) < len(term) for term in (*terms, out)):
        raise FoldRefused(f"the equation of {node.name} has a letter twice in a term")
    for own in (1, 0):
        if walk.is_constant(node, own):
            return (terms[1 - own], terms[own], out), own, walk.weight(node, own)
    raise FoldRefused(f"both operands of {node.name} are computed")


def _laid_out(values: Array64, letters: str, target: str, node: Node) -> Array64:
    """Values over some letters as a factor over others; refused if they differ along a letter that is not there."""
    for axis, size in enumerate(values.shape):
        if size > 1 and letters[axis] not in target:
            raise FoldRefused(f"its channels are no axis of the constant of {node.name}")
    shared = [i for i in target if i in letters]
    kept = values.reshape([s for s, i in zip(values.shape, letters, strict=True) if i in target])
    order = [i for i in letters if i in target]
    moved = kept.transpose([order.index(i) for i in shared])
    return moved.reshape([moved.shape[shared.index(i)] if i in shared else 1 for i in target])


RULE = Rule("Einsum", "any", ("Einsum",), backward, forward)
