"""A report as text for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ..support.table import table

if TYPE_CHECKING:
    from .outcome import Report

__all__ = ["text"]

WIDTH = 110


def text(report: Report) -> str:
    """Question, conclusion, criteria, tables, remarks and setting."""
    outcome = report.outcome
    state = "" if report.passed else "  (a criterion is not met)"
    lines = [f"{report.name}: {report.question}{state}", _wrapped(outcome.conclusion)]
    for criterion in outcome.criteria:
        lines.append(f"  {'met    ' if criterion.passed else 'NOT MET'}  {criterion}")
    for part in outcome.tables:
        lines += [f"  {part.title}", table([list(part.columns), *part.cells()], indent="    ")]
    lines += [_wrapped(remark) for remark in outcome.remarks]
    lines.append(_wrapped(report.conditions))
    return "\n".join(lines) + "\n"


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, initial_indent="  ", subsequent_indent="  ")
