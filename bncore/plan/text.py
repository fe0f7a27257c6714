"""A plan as text: a line per step, with its memory and work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..support.table import table

if TYPE_CHECKING:
    from .plan import Plan
    from .values import Step

__all__ = ["describe", "shapes"]

HEAD = ("step", "layer", "writes", "with", "million multiplications")


def describe(plan: Plan) -> str:
    """All steps as a table, an empty line before the backward pass; then memory and work."""
    forward, backward = plan.halves()
    rows = [HEAD, *map(_row, forward)]
    if backward:
        rows += [("",) * len(HEAD), *map(_row, backward)]
    summary = (
        f"{len(plan.steps)} steps, {plan.work / 1e6:.1f} million multiplications; "
        f"{plan.memory / 1e6:.2f} MB for values of {plan.unshared / 1e6:.2f} MB"
    )
    return f"{table(rows)}\n\n{summary}"


def _row(step: Step) -> tuple[str, ...]:
    work = f"{step.work / 1e6:.1f}" if step.work else ""
    return step.op, step.path, shapes(step), ", ".join(step.notes), work


def shapes(step: Step) -> str:
    """What a step writes, as 8x16x16x32."""
    return " ".join("x".join(map(str, value.shape)) for value in step.writes)
