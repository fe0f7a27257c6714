"""DepthToSpace and SpaceToDepth: channels move into space and back.

A block's r² places of one channel share its map: DepthToSpace's input has it tiled r² times (DCR)
or every channel repeated r² times (CRD); SpaceToDepth's output has it tiled.
"""

from __future__ import annotations

from ...algebra import Affine, FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    if node.op == "DepthToSpace":
        return walk.backward(node.input(0), _many(walk, node, label, node.outputs[0]))
    return walk.backward(node.input(0), _few(walk, node, label, node.outputs[0]))


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if node.op == "DepthToSpace":
        return walk.forward(node.outputs[0], _few(walk, node, label, node.input(0)))
    return walk.forward(node.outputs[0], _many(walk, node, label, node.input(0)))


def _repeats(node: Node) -> bool:
    return node.text("mode", "DCR") == "CRD"


def _many(walk: Walk, node: Node, label: Label, value: str) -> Label:
    affine = label.along(1, walk.sizes(value, [1])[0])
    times = node.attribute("blocksize") ** 2
    return Label.vector(affine.repeat(times) if _repeats(node) else affine.tile(times), 1, 4)


def _few(walk: Walk, node: Node, label: Label, value: str) -> Label:
    affine = label.along(1, walk.sizes(value, [1])[0])
    times = node.attribute("blocksize") ** 2
    shape = (-1, times) if _repeats(node) else (times, -1)
    parts = []
    for part in (affine.scale, affine.center, affine.shift):
        blocks = part.reshape(shape)
        first = blocks[:, :1] if _repeats(node) else blocks[:1]
        if (blocks != first).any():
            raise FoldRefused(f"its channels become neighbours in {node.name}")
        parts.append(first.reshape(-1))
    return Label.vector(Affine(*parts), 1, 4)


RULE = Rule("DepthToSpace", "any", ("DepthToSpace", "SpaceToDepth"), backward, forward)
