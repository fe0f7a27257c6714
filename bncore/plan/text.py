"""A plan as text: a line per step, with its memory and work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan
    from .values import Step, Value

__all__ = ["describe", "rows"]

Row = tuple[str, str, str, str, str]


def rows(plan: Plan) -> list[Row]:
    """(operation, layer, output, notes, millions of multiplications) of every step."""
    return [_row(step) for step in plan.steps]


def _row(step: Step) -> Row:
    shape = " ".join(_shape(value) for value in step.writes)
    work = f"{step.work / 1e6:.1f}" if step.work else ""
    return step.op, step.path, shape, ", ".join(step.notes), work


def _shape(value: Value) -> str:
    return "x".join(map(str, value.shape))


def describe(plan: Plan) -> str:
    """All steps as a table, then memory and work."""
    head: Row = ("step", "layer", "writes", "with", "Mmul")
    table = [head, *rows(plan)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = [_line(row, widths) for row in table]
    forward, _ = plan.halves()
    lines.insert(1 + len(forward), "")
    lines.append(
        f"\n{len(plan.steps)} steps, {plan.work / 1e6:.1f} million multiplications, "
        f"{plan.memory / 1e6:.2f} MB for values of {plan.unshared / 1e6:.2f} MB"
    )
    return "\n".join(lines)


def _line(row: Row, widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
