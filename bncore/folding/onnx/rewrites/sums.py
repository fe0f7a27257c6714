"""Sums of computed values: behind, all summands take the scale and one of them the shift.

In front: a shift of one summand is a shift of the sum; a scale of one summand is a scale of the
sum if the others can be divided by it.
"""

from __future__ import annotations

import numpy as np

from ...algebra import Affine, FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Walk

__all__ = ["backward", "forward"]

RATIO = 100.0  # largest ratio of scales that other summands are divided by


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    """Scale to all, shift to the summand that takes it at the lowest cost."""
    names = node.inputs
    if node.op == "Mean":
        return [e for i in range(len(names)) for e in _into(walk, node, i, label)]
    if node.op != "Sub" and len(set(names)) == 1:
        return _into_the_only_value(walk, node, label)
    taker, edits = (None, []) if label.only_scales else _into_one(walk, node, label)
    for i in range(len(names)):
        if i != taker:
            edits += _into(walk, node, i, label.scales())
    return edits


def _into_the_only_value(walk: Walk, node: Node, label: Label) -> list[Edit]:
    """A value that is added to itself n times takes the scale, and an nth of the shift."""
    name, times, graph = node.input(0), len(node.inputs), walk.graph
    if graph.pins[name] or len(graph.data_readers(name)) != times or name not in graph.producer:
        raise FoldRefused(f"{name}, the only summand of {node.name}, has other readers")
    affine = label.affine
    part = Label(Affine(affine.scale, affine.center / times, affine.shift / times), label.shape)
    return walk.backward_through(name, part)


def _into_one(walk: Walk, node: Node, label: Label) -> tuple[int, list[Edit]]:
    """The summand that takes the shift too, and its edits: the first that adds nothing, else the cheapest."""
    best: tuple[float, int, list[Edit]] | None = None
    reason = FoldRefused("")
    # other sums last: they would ask all of theirs
    for i in sorted(range(len(node.inputs)), key=lambda i: _is_sum(walk, node.input(i))):
        try:
            edits = _into(walk, node, i, _signed(node, i, label))
        except FoldRefused as refused:
            reason = refused
            continue
        cost = sum(edit.cost for edit in edits)
        if best is None or cost < best[0]:
            best = cost, i, edits
        if cost <= 0:
            break
    if best is None:
        raise reason
    return best[1], best[2]


def _is_sum(walk: Walk, value: str) -> bool:
    producer = walk.graph.producer.get(value)
    return producer is not None and producer.op in ("Add", "Sub", "Sum")


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if node.op == "Mean":
        raise FoldRefused(f"{node.name} is a mean of several values")
    rank = len(walk.shape(node.outputs[0]))
    whole = label.mapped(lambda part: part.reshape((1,) * (rank - part.ndim) + part.shape))
    whole = _signed(node, index, whole)
    edits: list[Edit] = []
    if not label.only_shifts:
        _judge_ratio(label)
        back = label.scales().inverse()
        wide = back.mapped(lambda part: part.reshape((1,) * (rank - part.ndim) + part.shape))
        for other in range(len(node.inputs)):
            if other != index:
                edits += _into(walk, node, other, wide)
        _judge_size(walk, node, whole)
    return edits + walk.forward(node.outputs[0], whole)


def _into(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    name = node.input(index)
    try:
        return walk.backward(name, label.fitted(walk.shape(name)))
    except FoldRefused as reason:
        raise FoldRefused(f"a summand of {node.name} cannot take it ({reason})") from None


def _signed(node: Node, index: int, label: Label) -> Label:
    """The map for a summand, whose sign a subtraction turns: of the shift only."""
    if node.op != "Sub" or index == 0:
        return label
    zero = np.zeros_like(label.affine.scale)
    return Label(Affine(label.affine.scale, zero, -label.affine.offset), label.shape)


def _judge_ratio(label: Label) -> None:
    size = np.abs(label.affine.scale)
    if size.min() * RATIO < size.max() or not 1 / RATIO <= size.max() <= RATIO:
        raise FoldRefused("other summands would have to be divided by scales that are far apart")


def _judge_size(walk: Walk, node: Node, label: Label) -> None:
    """A map along an axis along which the summand itself is broadcast is still a map of the sum."""
    for axis in label.axes:
        walk.sizes(node.outputs[0], [axis])
