"""Convolutions of any dimension and any groups.

Behind: ``W[o] *= s[o]``, ``b = s·(b - mean) + beta``; axis 0 of W is the absolute output channel
for every group. In front: ``W[:, i] *= s[i]``, ``b += Σ W·t``. Zero padding is not mapped by the
norm, so with padding only a scale goes in; what a shift adds is then a map over the output's
places (`border`), where maps are asked for and sizes are static.
"""

from __future__ import annotations

import numpy as np

from ...algebra import FoldRefused, check_forward, into_input, into_output
from ..graph import Node
from ..labels import Label
from ..store import dtype_of
from ..walk import Edit, Rule, Walk
from . import border

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    weight = walk.weight(node, 1, computed=True)
    affine = label.along(1, weight.shape[0])
    bias = walk.vector(node, 2, affine.channels)
    edit = walk.edit(node)
    ones = np.ones((affine.channels, *[1] * (len(weight.shape) - 1)))
    factor, new_bias = into_output(ones, bias, affine)
    edit.multiply(weight, factor)
    if node.input(2) or new_bias.any():
        edit.put(2, new_bias, weight.data_type)
    return [edit]


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is the weight of {node.name}")
    weight, groups = walk.weight(node, 1, computed=True), int(node.attribute("group", 1))
    affine = label.along(1, weight.shape[1] * groups)
    check_forward(affine, dtype_of(weight.data_type))
    bias = walk.vector(node, 2, weight.shape[0])
    edit = walk.edit(node)
    # one row for all outputs of a group
    ones = np.ones((groups, weight.shape[1], *[1] * (len(weight.shape) - 2)))
    factor, _ = into_input(ones, None, affine.without_offset(), groups=groups)
    if groups > 1:
        factor = factor.repeat(weight.shape[0] // groups, axis=0)
    edit.multiply(weight, factor)
    edits = [edit]
    if affine.offset.any():
        taps = border.shift_per_tap(weight.float64(), affine.offset, groups)
        if border.is_padded(node, weight.shape[2:]):
            _shift_under_padding(walk, node, taps, edits)
        else:
            added = taps.reshape(weight.shape[0], -1).sum(axis=1)
            edit.put(2, bias + added, weight.data_type)
    return edits


def _shift_under_padding(walk: Walk, node: Node, taps: np.ndarray, edits: list[Edit]) -> None:
    if not walk.maps:
        raise FoldRefused(f"the zero padding of {node.name} would have to be shifted too")
    border.add_map(walk, node, border.conv_windows(walk, node, taps.shape[1:]), taps, edits)


RULE = Rule("convolution", "any", ("Conv",), backward, forward)
