"""Gather: rows of a constant table, or a choice of a value's channels.

A table takes any map along its features; it must have no other reader. A choice by constant
indices hands the map on: in front of the Gather it is the identity for what is not chosen.
"""

from __future__ import annotations

import numpy as np

from ...algebra import Array64, FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    rank = len(walk.shape(node.input(0)))
    axis = int(node.attribute("axis", 0)) % rank
    if walk.is_constant(node, 0):
        return [_into_table(walk, node, label, axis, rank)]
    index_rank = label.rank - rank + 1
    along = range(axis, axis + index_rank)
    if not set(label.axes) & set(along):
        box = (*label.shape[:axis], 1, *label.shape[axis + index_rank :])
        return walk.backward(node.input(0), label.mapped(lambda part: part.reshape(box)))
    indices, size = _indices(walk, node, axis)
    if len(set(indices)) < len(indices) or index_rank != 1:
        raise FoldRefused(f"{node.name} gathers a channel twice")
    label = label.expanded([len(indices) if i == axis else s for i, s in enumerate(label.shape)])
    full = Label.identity(rank).expanded(
        [size if i == axis else s for i, s in enumerate(label.shape)]
    )
    parts = [part.copy() for part in full.arrays()]
    for part, chosen in zip(parts, label.arrays(), strict=True):
        np.moveaxis(part, axis, 0)[indices] = np.moveaxis(chosen, axis, 0)
    return walk.backward(node.input(0), Label.of(*parts), via=node)


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is an index of {node.name}")
    axis = int(node.attribute("axis", 0)) % label.rank
    index_rank = len(walk.shape(node.input(1)))
    if axis not in label.axes:
        box = (*label.shape[:axis], *[1] * index_rank, *label.shape[axis + 1 :])
        return walk.forward(node.outputs[0], label.mapped(lambda part: part.reshape(box)))
    _indices(walk, node, axis)
    chosen = walk.constant(node, 1).values()
    return walk.forward(
        node.outputs[0], label.mapped(lambda part: np.take(part, chosen, axis=axis))
    )


def _indices(walk: Walk, node: Node, axis: int) -> tuple[list[int], int]:
    size = walk.sizes(node.input(0), [axis])[0]
    chosen = walk.constant(node, 1).values().reshape(-1)
    return [int(i) % size for i in chosen], size


def _into_table(walk: Walk, node: Node, label: Label, axis: int, rank: int) -> Edit:
    if walk.graph.owner(node.input(0)) is not walk.graph or walk.graph.uses(node.input(0)) > 1:
        raise FoldRefused(f"the table {node.input(0)} has other readers")
    index_rank = label.rank - rank + 1
    label.constant_over(range(axis, axis + index_rank), "the indices")
    box = (*label.shape[:axis], 1, *label.shape[axis + index_rank :])
    scale, center, shift = (part.reshape(box) for part in label.arrays())
    table = walk.weight(node, 0)

    def mapped(values: Array64) -> Array64:
        return scale * (values - center) + shift

    edit = walk.edit(node)
    edit.changes.append(table.changed(mapped))
    return edit


RULE = Rule("Gather", "any", ("Gather",), backward, forward)
