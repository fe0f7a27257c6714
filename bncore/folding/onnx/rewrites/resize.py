"""Resize and Upsample in space: interpolation weights sum to 1, so any map of channels passes.

Not with `tf_crop_and_resize`, which puts a constant of its own outside of the image.
"""

from __future__ import annotations

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    _judge(walk, node, label)
    return walk.backward(node.input(0), label)


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is no data of {node.name}")
    _judge(walk, node, label)
    return walk.forward(node.outputs[0], label)


def _judge(walk: Walk, node: Node, label: Label) -> None:
    mode = node.text("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize" and not label.only_scales:
        raise FoldRefused(f"{node.name} puts a constant outside of the image")
    if mode == "tf_crop_and_resize" and float(node.attribute("extrapolation_value", 0.0)):
        raise FoldRefused(f"{node.name} puts a constant outside of the image")
    label.constant_over([axis for axis in range(label.rank) if axis > 1], node.name)
    before = walk.sizes(node.input(0), label.axes)
    if before != walk.sizes(node.outputs[0], label.axes):
        raise FoldRefused(f"{node.name} changes the number of its channels")


RULE = Rule("Resize", "any", ("Resize", "Upsample"), backward, forward)
