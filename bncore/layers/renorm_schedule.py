"""How far batch renormalization may correct a batch, as training goes on: limits from a step. No layer, no arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..support import checks

__all__ = ["PAPER", "Steps", "judged", "limits"]


class Steps(NamedTuple):
    """Training steps: before ``start`` plain batch norm, r_max reached at ``r_end``, d_max at ``d_end``."""

    start: float
    r_end: float
    d_end: float


PAPER = Steps(5000, 40000, 25000)
"""Ioffe 2017, arXiv 1702.03275, section 4."""

NAMES = ("fractions", "paper", "constant")


def judged(schedule: Any) -> str | Steps:
    """One of `NAMES`, or absolute steps from a sequence of three."""
    if isinstance(schedule, Sequence) and not isinstance(schedule, (str, bytes)):
        steps = Steps(*checks.int_tuple(schedule, "schedule", 3))
        if steps.start > min(steps.r_end, steps.d_end):
            raise ValueError(
                f"schedule must be steps (start, r_end, d_end) with start before both ends, got {tuple(steps)}"
            )
        return steps
    try:
        return str(checks.one_of(schedule, "schedule", NAMES))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}; steps (start, r_end, d_end) are taken too") from None


def limits(
    schedule: str | Steps, step: int, run_length: int, r_max: float, d_max: float
) -> tuple[float, float]:
    """(r_max, d_max) for the step after ``step`` others, in a run of ``run_length`` steps (0: not known).

    (1, 0) up to the start, then linear in the step to ``r_max`` and ``d_max``.
    """
    if schedule == "constant":
        return r_max, d_max
    if isinstance(schedule, Steps):
        steps = schedule
    elif schedule == "paper" or not run_length:
        steps = PAPER
    else:  # the paper's, as parts of the run
        steps = Steps(*(run_length * at / PAPER.r_end for at in PAPER))
    return (
        1.0 + (r_max - 1.0) * _share(step, steps.start, steps.r_end),
        d_max * _share(step, steps.start, steps.d_end),
    )


def _share(step: float, start: float, end: float) -> float:
    """0 up to ``start``, 1 from ``end`` on, linear in between."""
    if step >= end:
        return 1.0
    return max(0.0, (step - start) / (end - start)) if end > start else 0.0
