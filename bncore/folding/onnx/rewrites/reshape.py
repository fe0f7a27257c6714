"""Reshape, Flatten, Squeeze, Unsqueeze: the entries of a map are laid out anew in C order.

The axes of input and output are cut into groups of equal size, from the right while sizes are
static, then from the left; what is left between has unknown sizes and must see one map. A channel
that becomes (H, W)·C features is repeated or tiled this way, a channel shuffle is followed, and a
map that lies across groups is refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...algebra import FoldRefused
from ..evaluate import axes_input
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]

Group = tuple[tuple[int, ...], tuple[int, ...]]  # axes of one side, axes of the other


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    x, y = walk.shape(node.input(0)), walk.shape(node.outputs[0])
    return walk.backward(node.input(0), _relaid(walk, node, label, y, x, back=True))


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is no data of {node.name}")
    x, y = walk.shape(node.input(0)), walk.shape(node.outputs[0])
    return walk.forward(node.outputs[0], _relaid(walk, node, label, x, y, back=False))


def _relaid(
    walk: Walk, node: Node, label: Label, old: tuple[Any, ...], new: tuple[Any, ...], *, back: bool
) -> Label:
    if node.op in ("Squeeze", "Unsqueeze"):
        ones = _ones(walk, node, max(old, new, key=len))
        if (node.op == "Squeeze") is back:  # the label gains these axes
            return label.mapped(lambda part: np.expand_dims(part, tuple(ones)))
        return label.mapped(lambda part: part.squeeze(tuple(ones)))
    box, target = [1] * len(old), [1] * len(new)
    for group, other in _groups(old, new):
        if set(group) & set(label.axes):
            sizes = [old[axis] for axis in group] + [new[axis] for axis in other]
            if not all(isinstance(size, int) for size in sizes):
                raise FoldRefused(f"{node.op} {node.name} mixes its channels with an unknown size")
            if math.prod(old[a] for a in group) != math.prod(new[a] for a in other):
                raise FoldRefused(f"the shapes around {node.name} do not belong together")
            for axis in group:
                box[axis] = old[axis]
            for axis in other:
                target[axis] = new[axis]
    return label.expanded(box).mapped(lambda part: part.reshape(target)).compact()


def _ones(walk: Walk, node: Node, longer: tuple[Any, ...]) -> list[int]:
    values = [None, walk.constant(node, 1).values() if node.input(1) else None]
    axes = axes_input(node, values)
    if axes is None:
        if not all(isinstance(size, int) for size in longer):
            raise FoldRefused(f"{node.name} drops axes of unknown size")
        axes = [axis for axis, size in enumerate(longer) if size == 1]
    return sorted(axis % len(longer) for axis in axes)


def _groups(old: tuple[Any, ...], new: tuple[Any, ...]) -> list[Group]:
    if 0 in old or 0 in new:
        raise FoldRefused("a reshaped value is empty")
    right, i, j = _greedy(old[::-1], new[::-1])
    groups = [
        (tuple(len(old) - 1 - a for a in one)[::-1], tuple(len(new) - 1 - a for a in other)[::-1])
        for one, other in right
    ]
    head, rest = old[: len(old) - i], new[: len(new) - j]
    left, i, j = _greedy(head, rest)
    groups += left
    if i < len(head) or j < len(rest):
        groups.append((tuple(range(i, len(head))), tuple(range(j, len(rest)))))
    return groups


def _greedy(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[list[Group], int, int]:
    """Groups from the front as far as sizes are certain, and how many axes they take."""
    groups: list[Group] = []
    i = j = 0
    while i < len(old) and j < len(new):
        if isinstance(old[i], str) and old[i] == new[j]:
            groups.append(((i,), (j,)))
            i, j = i + 1, j + 1
            continue
        end_i, end_j = _equal_products(old, new, i, j)
        if end_i == i:
            break
        groups.append((tuple(range(i, end_i)), tuple(range(j, end_j))))
        i, j = end_i, end_j
    return groups, i, j


def _equal_products(old: tuple[Any, ...], new: tuple[Any, ...], i: int, j: int) -> tuple[int, int]:
    a = b = 1
    end_i, end_j = i, j
    while True:
        if a <= b and end_i < len(old) and (a < b or end_i == i):
            if not isinstance(old[end_i], int):
                return i, j
            a, end_i = a * old[end_i], end_i + 1
        elif end_j < len(new):
            if not isinstance(new[end_j], int):
                return i, j
            b, end_j = b * new[end_j], end_j + 1
        else:
            return i, j
        if a == b and end_i > i and end_j > j:
            return end_i, end_j


RULE = Rule("Reshape", "any", ("Reshape", "Flatten", "Squeeze", "Unsqueeze"), backward, forward)
