"""Rows of cells as aligned text. Knows nothing of what the cells mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["table"]


def table(rows: Iterable[Sequence[Any]], *, indent: str = "  ") -> str:
    """Rows of cells as aligned columns, one line each."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(indent + line.rstrip() for line in lines)
