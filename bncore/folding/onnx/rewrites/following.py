"""A shift of a node's output into the constant Add that follows it, instead of a second Add.

No rule of its own: operators without a bias use it.
"""

from __future__ import annotations

import numpy as np

from ...algebra import Array64, FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Walk

__all__ = ["into_following_add"]


def into_following_add(walk: Walk, node: Node, shift: Array64, edits: list[Edit]) -> bool:
    """Add an edit of the following Add; False if there is none that can take the shift."""
    value = node.outputs[0]
    readers = node.graph.data_readers(value)
    if node.graph.pins[value] or len(readers) != 1:
        return False
    add = readers[0][0]
    if add.op not in ("Add", "BatchNormalization"):
        return False
    try:
        own = affine_nodes.read(walk.program, add)
        first = Label.of(np.ones_like(shift), np.zeros_like(shift), shift)
        combined = first.then(own)
        kind = affine_nodes.kind_of(walk.program, add, combined)
    except FoldRefused:
        return False
    if kind == "nothing" or affine_nodes.COST[kind] > affine_nodes.cost(add):
        return False
    edit = walk.edit(add)
    edit.changes.append(lambda: affine_nodes.write(walk.program, add, combined))
    edits.append(edit)
    return True
