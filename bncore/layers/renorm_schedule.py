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
        if len(schedule) != 3:
            raise ValueError(
                f"schedule must be three steps (start, r_end, d_end), got {len(schedule)}: {schedule!r}"
            )
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
    if type(schedule) is Steps:
        start, r_end, d_end = schedule
    else:
        start, r_end, d_end = PAPER
        if schedule == "fractions" and run_length:  # the paper's steps as parts of the run
            start, d_end, r_end = start / r_end * run_length, d_end / r_end * run_length, run_length
    if step < start:
        return 1.0, 0.0
    r_share = 1.0 if step >= r_end else (step - start) / (r_end - start)
    d_share = 1.0 if step >= d_end else (step - start) / (d_end - start)
    return 1.0 + (r_max - 1.0) * r_share, d_max * d_share
