"""RNN, GRU and LSTM: a norm in front of the input goes into W and the input half of B, for every
gate and direction. R, the recurrent half of B and peepholes stay. A norm behind is not linear
in anything.
"""

from __future__ import annotations

import numpy as np

from ...algebra import FoldRefused, check_forward
from ..graph import Node
from ..labels import Label
from ..store import dtype_of
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is no input sequence of {node.name}")
    weight = walk.weight(node, 1)  # (directions, gates·hidden, inputs)
    directions, rows, inputs = weight.shape
    affine = label.along(2, inputs)
    check_forward(affine, dtype_of(weight.data_type))
    edit = walk.edit(node)
    edit.multiply(weight, affine.scale)
    if affine.offset.any():
        bias = np.zeros((directions, 2 * rows))
        if node.input(3):
            bias = walk.weight(node, 3).float64()
        added = weight.float64() @ affine.offset
        edit.put(
            3, np.concatenate([bias[:, :rows] + added, bias[:, rows:]], axis=1), weight.data_type
        )
    return [edit]


RULE = Rule("recurrent", "any", ("RNN", "GRU", "LSTM"), None, forward)
