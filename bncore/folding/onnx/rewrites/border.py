"""What a constant shift in front of a padded or transposed convolution adds to its output, place by
place: not the same at the border, where taps see zeros.

For one axis, ``windows[p, k]`` is 1 where tap k of output p sees the input; the map is the product
over all axes. No rule of its own: Conv and ConvTranspose use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...algebra import Array64, FoldRefused
from ..graph import Node
from ..labels import LARGEST, Label
from ..walk import Edit, Walk

__all__ = ["add_map", "conv_windows", "is_padded", "pads_of", "shift_per_tap", "transposed_windows"]


def is_padded(node: Node, kernel: Sequence[int]) -> bool:
    """Whether a convolution or pool may see padding."""
    auto = node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return any(size != 1 for size in kernel)
    return auto == "NOTSET" and any(node.attribute("pads", ()))


def shift_per_tap(weight: Array64, shift: Array64, groups: int) -> Array64:
    """``Σ_i W[o, i, taps]·t[i]``, shape (out, *kernel), weight (out, in/groups, *kernel)."""
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    t = shift.reshape(groups, -1)
    return np.einsum("goi...,gi->go...", grouped, t).reshape(weight.shape[0], *weight.shape[2:])


def pads_of(
    node: Node, before: Sequence[int], after: Sequence[int], kernel: Sequence[int]
) -> list[int]:
    """Zeros in front of every axis of a convolution from sizes `before` to sizes `after`."""
    spatial = len(kernel)
    auto = node.text("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return list(node.attribute("pads", [0] * 2 * spatial))[:spatial]
    if auto == "VALID":
        return [0] * spatial
    strides = node.attribute("strides", [1] * spatial)
    dilations = node.attribute("dilations", [1] * spatial)
    begin = []
    for i in range(spatial):
        total = max((after[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - before[i], 0)
        begin.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
    return begin


def conv_windows(walk: Walk, node: Node, kernel: Sequence[int]) -> list[Array64]:
    """For every spatial axis (outputs, taps)."""
    spatial = len(kernel)
    before, after = _sizes(walk, node, spatial)
    pads = pads_of(node, before, after, kernel)
    strides = node.attribute("strides", [1] * spatial)
    dilations = node.attribute("dilations", [1] * spatial)
    windows = []
    for i in range(spatial):
        place = np.arange(after[i])[:, None] * strides[i] - pads[i]
        place = place + np.arange(kernel[i])[None, :] * dilations[i]
        windows.append(((place >= 0) & (place < before[i])).astype(np.float64))
    return windows


def transposed_windows(walk: Walk, node: Node, kernel: Sequence[int]) -> list[Array64]:
    """The same for a transposed convolution: which taps reach an output from some input."""
    spatial = len(kernel)
    if node.text("auto_pad", "NOTSET") != "NOTSET" or node.attribute("output_shape"):
        raise FoldRefused(f"the padding of {node.name} is automatic")
    before, after = _sizes(walk, node, spatial)
    pads = list(node.attribute("pads", [0] * 2 * spatial))
    strides = node.attribute("strides", [1] * spatial)
    dilations = node.attribute("dilations", [1] * spatial)
    windows = []
    for i in range(spatial):
        place = (
            np.arange(after[i])[:, None] + pads[i] - np.arange(kernel[i])[None, :] * dilations[i]
        )
        hits = (place % strides[i] == 0) & (place >= 0) & (place < before[i] * strides[i])
        windows.append(hits.astype(np.float64))
    return windows


def _sizes(walk: Walk, node: Node, spatial: int) -> tuple[list[int], list[int]]:
    axes = range(2, 2 + spatial)
    before, after = walk.sizes(node.input(0), axes), walk.sizes(node.outputs[0], axes)
    if math.prod(after) > LARGEST:
        raise FoldRefused(f"the map behind {node.name} would be too large to keep")
    return before, after


def add_map(
    walk: Walk, node: Node, windows: list[Array64], taps: Array64, edits: list[Edit]
) -> None:
    """Add the map of `taps` (out, *kernel) behind a node: its bias if it is even, else an Add."""
    if taps.shape[0] * math.prod(len(window) for window in windows) > LARGEST:
        raise FoldRefused(f"the map behind {node.name} would be too large to keep")
    result = taps
    for window in windows:  # the first axis of taps left is contracted, its outputs go to the end
        result = np.tensordot(result, window, axes=(1, 1))
    value = result[None]
    compact = Label.of(np.ones_like(value), np.zeros_like(value), value).compact().offset
    walk.add_after(node, compact, edits)
