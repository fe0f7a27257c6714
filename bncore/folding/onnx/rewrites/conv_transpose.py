"""Transposed convolutions of any dimension and any groups, weight (in, out/groups, *k).

Behind: the weight viewed as (groups, in/groups, out/groups, *k) times s viewed as (groups, 1,
out/groups, 1..); a plain broadcast is right for one group only. In front: a scale goes into axis
0. A shift reaches outputs unevenly: one bias for 1x1 kernels of stride 1, else a map, where maps
are asked for and sizes are static.
"""

from __future__ import annotations

import numpy as np

from ...algebra import FoldRefused, check_forward, into_transposed_input, into_transposed_output
from ..graph import Node
from ..labels import Label
from ..store import dtype_of
from ..walk import Edit, Rule, Walk
from . import border

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    weight, groups = walk.weight(node, 1, computed=True), int(node.attribute("group", 1))
    affine = label.along(1, weight.shape[1] * groups)
    bias = walk.vector(node, 2, affine.channels)
    edit = walk.edit(node)
    rows = weight.shape[0] if groups > 1 else 1
    ones = np.ones((rows, weight.shape[1], *[1] * (len(weight.shape) - 2)))
    factor, new_bias = into_transposed_output(ones, bias, affine, groups=groups)
    edit.multiply(weight, factor)
    if node.input(2) or new_bias.any():
        edit.put(2, new_bias, weight.data_type)
    return [edit]


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is the weight of {node.name}")
    weight, groups = walk.weight(node, 1, computed=True), int(node.attribute("group", 1))
    affine = label.along(1, weight.shape[0])
    check_forward(affine, dtype_of(weight.data_type))
    outputs = weight.shape[1] * groups
    bias = walk.vector(node, 2, outputs)
    edit = walk.edit(node)
    edit.multiply(weight, affine.scale.reshape(-1, *[1] * (len(weight.shape) - 1)))
    edits = [edit]
    if affine.offset.any():
        pointwise = _is_pointwise(node, weight.shape[2:])
        if pointwise:
            _, new_bias = into_transposed_input(
                weight.float64(), bias, affine, groups=groups, pointwise=True
            )
            edit.put(2, new_bias, weight.data_type)
        elif walk.maps:
            swapped = _as_convolution(weight.float64(), groups)
            taps = border.shift_per_tap(swapped, affine.offset, groups)
            windows = border.transposed_windows(walk, node, weight.shape[2:])
            border.add_map(walk, node, windows, taps, edits)
        else:
            raise FoldRefused(f"a shift reaches the outputs of {node.name} unevenly")
    return edits


def _is_pointwise(node: Node, kernel: tuple[int, ...]) -> bool:
    return (
        set(kernel) == {1}
        and set(node.attribute("strides", [1])) == {1}
        and not any(node.attribute("pads", ()))
        and not any(node.attribute("output_padding", ()))
        and not node.attribute("output_shape")
    )


def _as_convolution(weight: np.ndarray, groups: int) -> np.ndarray:
    """(in, out/groups, *k) as (out, in/groups, *k)."""
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    return grouped.swapaxes(1, 2).reshape(-1, grouped.shape[1], *weight.shape[2:])


RULE = Rule("transposed convolution", "any", ("ConvTranspose",), backward, forward)
