"""The neighbourhood of the norms that stayed, as a Graphviz file or a drawing. Lays out rows of boxes, nothing clever."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Neighbourhood", "dot", "neighbourhood", "svg"]

NORM = "BatchNormalization"
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 190, 40, 20, 46


class Neighbourhood(NamedTuple):
    """Boxes (label, whether it is a norm) and arrows between their numbers, sources before targets."""

    boxes: list[tuple[str, bool]]
    arrows: list[tuple[int, int]]


def neighbourhood(model: ModelProto, *, steps: int = 2) -> Neighbourhood:
    """The top-level graph's norms and what is at most so many arrows away from one."""
    nodes = list(model.graph.node)
    makers = {output: at for at, node in enumerate(nodes) for output in node.output if output}
    arrows = [
        (makers[name], at)
        for at, node in enumerate(nodes)
        for name in dict.fromkeys(node.input)
        if name in makers and nodes[makers[name]].op_type != "Constant"
    ]
    near = {at for at, node in enumerate(nodes) if node.op_type == NORM}
    for _ in range(steps):
        near |= {end for arrow in arrows if near.intersection(arrow) for end in arrow}
    order = {at: place for place, at in enumerate(sorted(near))}
    return Neighbourhood(
        [(_label(nodes[at]), nodes[at].op_type == NORM) for at in order],
        [(order[a], order[b]) for a, b in arrows if a in order and b in order],
    )


def dot(part: Neighbourhood) -> str:
    """For Graphviz."""
    lines = ["digraph kept {", '  node [shape=box, fontname="sans-serif"];']
    for at, (label, norm) in enumerate(part.boxes):
        style = ", style=filled, fillcolor=gold" if norm else ""
        text = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'  n{at} [label="{text}"{style}];')
    lines += [f"  n{a} -> n{b};" for a, b in part.arrows]
    return "\n".join([*lines, "}", ""])


def svg(part: Neighbourhood) -> str:
    """Every box one row below the lowest of its sources."""
    rows = _rows(len(part.boxes), part.arrows)
    columns: dict[int, int] = {}
    places = []
    for row in rows:
        column = columns.get(row, 0)
        columns[row] = column + 1
        places.append((10 + column * (_WIDTH + _GAP_X), 10 + row * (_HEIGHT + _GAP_Y)))
    width = 10 + max(columns.values(), default=1) * (_WIDTH + _GAP_X)
    height = 10 + (max(rows, default=0) + 1) * (_HEIGHT + _GAP_Y)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" text-anchor="middle">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for a, b in part.arrows:
        (x1, y1), (x2, y2) = places[a], places[b]
        lines.append(
            f'<line x1="{x1 + _WIDTH // 2}" y1="{y1 + _HEIGHT}" x2="{x2 + _WIDTH // 2}" y2="{y2}" '
            'stroke="black" marker-end="url(#tip)"/>'
        )
    for (label, norm), (x, y) in zip(part.boxes, places):
        lines.append(
            f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" stroke="black" '
            f'fill="{"gold" if norm else "whitesmoke"}"/>'
        )
        for line, text in enumerate(label.split("\n")):
            lines.append(
                f'<text x="{x + _WIDTH // 2}" y="{y + 17 + 15 * line}">{escape(text)}</text>'
            )
    return "\n".join([*lines, "</svg>", ""])


def _rows(count: int, arrows: Iterable[tuple[int, int]]) -> list[int]:
    rows = [0] * count
    for a, b in sorted(arrows, key=lambda arrow: arrow[1]):  # sources come before targets
        rows[b] = max(rows[b], rows[a] + 1)
    return rows


def _label(node: NodeProto) -> str:
    name = node.name or next(iter(node.output), "")
    clean = "".join(letter if letter.isprintable() else "?" for letter in name)
    return f"{node.op_type}\n{clean if len(clean) <= 26 else '…' + clean[-25:]}"
