"""Split and Slice: in front of them a map is the identity for what is cut away; behind, its parts."""

from __future__ import annotations

from typing import Any

from ...algebra import FoldRefused
from ..graph import Node
from ..labels import Label
from ..walk import Edit, Rule, Walk

__all__ = ["RULE"]

Cut = dict[int, slice]  # axis -> what of it


def backward(walk: Walk, node: Node, output: int, label: Label) -> list[Edit]:
    cuts = _cuts(walk, node, output)
    inside = {axis: cut for axis, cut in cuts.items() if axis in label.axes}
    # along another cut axis the map is one: it may as well hold for what is cut away, unless others read that
    others = node.op == "Split" and any(
        node.graph.uses(name) for i, name in enumerate(node.outputs) if name and i != output
    )
    if others:
        inside = cuts
    if not inside:
        return walk.backward(node.input(0), label)
    sizes = dict(zip(inside, walk.sizes(node.input(0), inside), strict=True))
    chosen = label.expanded(
        [len(range(sizes[a])[inside[a]]) if a in inside else s for a, s in enumerate(label.shape)]
    )
    full = Label.identity(label.rank).expanded(
        [sizes.get(axis, size) for axis, size in enumerate(label.shape)]
    )
    parts = [part.copy() for part in full.arrays()]
    for part, values in zip(parts, chosen.arrays(), strict=True):
        part[_index(inside, label.rank)] = values
    return walk.backward(node.input(0), Label.of(*parts), via=node)


def forward(walk: Walk, node: Node, index: int, label: Label) -> list[Edit]:
    if index != 0:
        raise FoldRefused(f"it is no data of {node.name}")
    edits: list[Edit] = []
    for output, name in enumerate(node.outputs):
        if name:
            cuts = {a: c for a, c in _cuts(walk, node, output).items() if a in label.axes}
            if cuts:
                walk.sizes(node.input(0), cuts)
            place = _index(cuts, label.rank)
            edits += walk.forward(name, label.mapped(lambda part, place=place: part[place]))  # type: ignore[misc]
    return edits


def _index(cuts: Cut, rank: int) -> tuple[slice, ...]:
    return tuple(cuts.get(axis, slice(None)) for axis in range(rank))


def _cuts(walk: Walk, node: Node, output: int) -> Cut:
    return _cut_of_slice(walk, node) if node.op == "Slice" else _cut_of_split(walk, node, output)


def _cut_of_split(walk: Walk, node: Node, output: int) -> Cut:
    axis = int(node.attribute("axis", 0)) % len(walk.shape(node.input(0)))
    sizes = [walk.sizes(name, [axis])[0] for name in node.outputs[: output + 1]]
    return {axis: slice(sum(sizes[:output]), sum(sizes))}


def _cut_of_slice(walk: Walk, node: Node) -> Cut:
    rank = len(walk.shape(node.input(0)))
    starts, ends = _numbers(walk, node, "starts", 1), _numbers(walk, node, "ends", 2)
    if starts is None or ends is None:
        raise FoldRefused(f"the borders of {node.name} are missing")
    axes = _numbers(walk, node, "axes", 3) or range(len(starts))
    steps = _numbers(walk, node, "steps", 4) or [1] * len(starts)
    return {
        axis % rank: slice(start, end, step)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }


def _numbers(walk: Walk, node: Node, name: str, index: int) -> list[int] | None:
    """An attribute of old opsets that is an input now."""
    value: Any = node.attribute(name)
    if value is None and node.input(index):
        value = walk.constant(node, index).values().reshape(-1)
    return None if value is None else [int(v) for v in value]


RULE = Rule("Split", "any", ("Split", "Slice"), backward, forward)
