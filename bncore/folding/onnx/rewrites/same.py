"""Identity, Dropout in evaluation, Cast to a wider float: an affine map passes as it is."""

from __future__ import annotations

import math

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..store import BFLOAT16, DOUBLE, FLOAT, FLOAT16
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]

WIDTH = {FLOAT16: 0, BFLOAT16: 0, FLOAT: 1, DOUBLE: 2}


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    _judge(walk, node, output)
    return walk.backward(node.input(0), label)


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is no data of {node.name}")
    _judge(walk, node, 0)
    return walk.forward(node.outputs[0], label)


def _judge(walk: Walk, node: Node, output: int) -> None:
    if node.op == "Dropout":
        if output != 0:
            raise FoldRefused(f"it is the mask of {node.name}")
        training = bool(node.input(2)) and walk.constant(node, 2).values().any()
        if training:
            raise FoldRefused(f"{node.name} is in training mode")
    if node.op == "Cast":
        source = WIDTH.get(walk.data_type(node.input(0)), math.inf)
        target = WIDTH.get(node.attribute("to"), -1)
        same = walk.data_type(node.input(0)) == node.attribute("to")
        if not same and source >= target:
            raise FoldRefused(f"{node.name} casts to a type that is not wider")


RULE = Rule("pass through", "any", ("Identity", "Dropout", "Cast"), backward, forward)
