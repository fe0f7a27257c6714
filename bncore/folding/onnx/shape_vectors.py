"""Shapes that a graph computes itself: Shape, Gather, Unsqueeze, Concat, and then Reshape.

ONNX's inference follows these from opset 13 on; files of older exporters are full of them.
Entries are sizes, names of sizes, or None for what is not known.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra import FoldRefused
from .graph import Graph, Node, Shape

if TYPE_CHECKING:
    from .program import Program

__all__ = ["reshaped"]

Entries = list["int | str | None"]
ALIKE = ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Floor")
NESTING = 50


def reshaped(program: Program, node: Node) -> Shape | None:
    """Shape of a Reshape's output as far as it can be told; None if not even its rank can."""
    target = _entries(program, node.graph, node.input(1), 0)
    source = program.shape(node.graph, node.input(0))
    if target is None or (0 in target and node.attribute("allowzero", 0)):
        return None
    if 0 in target:
        if source is None or len(source) < len(target):
            return None
        target = [source[i] if size == 0 else size for i, size in enumerate(target)]
    return tuple(_completed(target, source))


def _completed(target: Entries, source: Shape | None) -> Entries:
    """With -1 replaced by what is left of the source, where names cancel."""
    if -1 not in target:
        return target
    place = target.index(-1)
    left: Entries = list(source) if source is not None else [None]
    size = 1
    for entry in (*target[:place], *target[place + 1 :]):
        if isinstance(entry, int):
            size *= entry
        elif entry in left:
            left.remove(entry)
        else:
            left.append(None)
    missing: int | None = None
    if all(isinstance(entry, int) for entry in left):
        total = int(np.prod([entry for entry in left if isinstance(entry, int)], dtype=np.int64))
        missing = total // size if size and total % size == 0 else None
    elif len(left) == 1 and size == 1 and isinstance(left[0], str):
        return [*target[:place], left[0], *target[place + 1 :]]
    return [*target[:place], missing, *target[place + 1 :]]


def _entries(program: Program, graph: Graph, name: str, depth: int) -> Entries | None:
    try:
        constant = program.constants.find(graph, name)
        integers = constant.data_type in (6, 7) and len(constant.shape) < 2  # int32, int64
        return [int(v) for v in constant.values().reshape(-1)] if integers else None
    except FoldRefused:
        pass
    owner = graph.owner(name) if name else None
    node = owner.producer.get(name) if owner is not None else None
    if node is None or depth > NESTING:
        return None
    if node.op == "Shape":
        shape = program.shape(node.graph, node.input(0))
        part = shape and shape[node.attribute("start", 0) : node.attribute("end")]
        return None if part is None else list(part)
    parts = [_entries(program, node.graph, value, depth + 1) for value in node.inputs if value]
    first = parts[0] if parts else None
    if node.op == "Concat":
        return None if None in parts else [entry for part in parts for entry in part or ()]
    if first is None:
        return None
    if node.op in ALIKE:
        return first
    if node.op in ("Gather", "Slice"):
        return _chosen(node, first, parts[1:])
    if node.op in COMPUTED:
        return _computed(node, first, parts[1])
    return None


def _chosen(node: Node, entries: Entries, rest: list[Entries | None]) -> Entries | None:
    if node.op == "Slice" and node.attribute("starts"):
        rest = [node.attribute("starts"), node.attribute("ends")]
    numbers: list[Any] = list(rest)
    if any(part is None or not all(isinstance(v, int) for v in part) for part in numbers):
        return None
    if node.op == "Gather":
        size = len(entries)
        inside = all(-size <= i < size for i in numbers[0])
        return [entries[i] for i in numbers[0]] if inside else None
    step = numbers[3][0] if len(numbers) > 3 else 1
    return entries[numbers[0][0] : numbers[1][0] : step]


def _computed(node: Node, a: Entries, b: Entries | None) -> Entries | None:
    if b is None or len(a) != len(b):
        return None
    results: Entries = []
    for x, y in zip(a, b, strict=True):
        known = isinstance(x, int) and isinstance(y, int)
        results.append(COMPUTED[node.op](x, y) if known else None)
    return results


def _whole(operation: Callable[[int, int], int]) -> Callable[[int, int], int | None]:
    """A division of sizes; None by 0."""
    return lambda x, y: operation(x, y) if y else None


COMPUTED: dict[str, Callable[[Any, Any], int | None]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _whole(operator.floordiv),
    "Mod": _whole(operator.mod),
}
