"""What is done in one step though the net says it in several: which norms a convolution measures, applies, or reads.

A convolution takes the statistics of the batch norm behind it while its output is in cache. The output of a norm is computed
by the convolution that reads it first, as it reads. If nobody else reads it and the norm adds no residual, it is never
stored, but computed again in backward. In evaluation the norm behind a convolution is applied to its output in cache.
"""

from __future__ import annotations

from collections import defaultdict

from .nodes import Convolve, Node, Normalize
from .values import Value

__all__ = ["bare", "fuse", "readers_of"]


def readers_of(nodes: list[Node], output: Value) -> dict[Value, list[Node | None]]:
    """Who reads each value; None stands for the caller, who gets the output."""
    readers: dict[Value, list[Node | None]] = defaultdict(list)
    for node in nodes:
        for value in node.inputs():
            readers[value].append(node)
    readers[output].append(None)
    return readers


def fuse(nodes: list[Node], output: Value, training: bool) -> None:
    """Mark what belongs together."""
    readers = readers_of(nodes, output)
    makers = {node.y: node for node in nodes}
    for node in nodes:
        if isinstance(node, Normalize):
            front = makers.get(node.x)
            if bare(front) and readers[node.x] == [node]:
                assert isinstance(front, Convolve)
                _with_front(node, front, training, nodes)
            _with_back(node, readers)


def bare(node: Node | None) -> bool:
    """Whether this is a convolution or Linear, and nothing is between it and what reads it."""
    return isinstance(node, Convolve) and not node.relu and node.residual is None


def _with_front(norm: Normalize, front: Convolve, training: bool, nodes: list[Node]) -> None:
    if norm.batch:
        front.measures, norm.measured = norm, True
    elif not training and _ready(norm, front, nodes):
        front.measures, norm.applied = norm, True


def _ready(norm: Normalize, front: Node, nodes: list[Node]) -> bool:
    """Whether the norm's residual is there when the convolution runs: no node behind it makes it."""
    behind = nodes[nodes.index(front) :]
    return all(norm.residual is not node.y for node in behind)


def _with_back(norm: Normalize, readers: dict[Value, list[Node | None]]) -> None:
    back, *others = readers[norm.y]
    if not norm.measured or not isinstance(back, Convolve):
        return
    if back.x is not norm.y or back.residual is norm.y:
        return
    back.reads, norm.by_reader = norm, True
    norm.stored = bool(others) or norm.residual is not None
