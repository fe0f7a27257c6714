"""A map whose scales are too large or too small for half precision: powers of two go on, the rest
goes back.

``y = d·(s/d·x + t/d)``: with d = 2^k near s the weights before it keep their size, and the
readers' weights take d exactly, where ReLU and the like lie between too.
"""

from __future__ import annotations

import numpy as np

from ...algebra import Affine, FoldRefused
from ..graph import Node
from ..labels import Label
from ..rewrites.elementwise import away
from ..store import FLOAT16
from ..walk import Edit, Walk
from .plan import Move, signal_of

__all__ = ["MOVE"]


def both_ways(walk: Walk, node: Node, label: Label) -> list[Edit]:
    if walk.data_type(node.outputs[0]) != FLOAT16:
        raise FoldRefused("only half precision runs out of range")
    size = np.abs(label.affine.scale)
    powers = np.where(size > 0, np.exp2(np.round(np.log2(np.where(size > 0, size, 1.0)))), 1.0)
    zeros = np.zeros_like(powers)
    back = label.then(Label(Affine(1.0 / powers, zeros, zeros), label.shape))
    on = Label(Affine(powers, zeros, zeros), label.shape)
    x = node.input(signal_of(walk, node))
    return [*walk.backward(x, back), *walk.forward(node.outputs[0], on), away(walk, node)]


MOVE = Move("both ways", "backward", both_ways)
