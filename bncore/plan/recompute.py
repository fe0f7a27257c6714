"""Outputs of norms that are not kept for the backward pass but computed again, from the norm's input and statistics.

In-place activated batch norm (Rota Bulo 2018, arXiv 1712.02616) trades a pass over the data for memory in the same way;
there the input is had from the output, here the output from the input, whatever the activation.
"""

from __future__ import annotations

from .forward import norm_step
from .nodes import Node, Normalize
from .values import Step, Value

__all__ = ["recomputed"]


def recomputed(nodes: list[Node], backward: list[Step]) -> list[Step]:
    """The backward steps, with those norms before them that are needed again.

    A norm with a residual is computed again only if its residual is kept: in a row of residual blocks every second one.
    """
    chosen = _chosen(nodes)
    steps: list[Step] = []
    for step in backward:
        for value in step.reads:
            node = chosen.pop(value.owner(), None)
            if node is not None:
                again = norm_step(node)
                again.backward = again.again = True
                again.notes.append("again")
                steps.append(again)
        steps.append(step)
    return steps


def _chosen(nodes: list[Node]) -> dict[Value, Normalize]:
    """Norms by their output."""
    chosen: dict[Value, Normalize] = {}
    for node in nodes:
        if not isinstance(node, Normalize) or not node.measured or not node.stored:
            continue
        if node.residual is None or node.residual.owner() not in chosen:
            chosen[node.y] = node
    return chosen
