"""Which value lies where: values that are not needed at the same time share memory. No memory is taken here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .values import Step, Value

__all__ = ["Layout", "lay_out"]

LINE = 64  # bytes: a cache line, and the widest vector register
STAGGERED = 1 << 16  # arrays of so many bytes and more do not begin at equal places of pages


@dataclass(frozen=True, slots=True)
class Layout:
    """Where values begin in one block of memory, and how much of it there is."""

    offsets: dict[Value, int]
    nbytes: int
    lives: dict[Value, tuple[int, int]]
    """First and last step that needs a value."""


def lay_out(steps: Sequence[Step], inputs: Iterable[Value], outputs: Iterable[Value]) -> Layout:
    """Places for all values of ``steps``: the largest first, each at the lowest place that is free while it lives.

    Parameters
    ----------
    steps : in the order in which they run
    inputs : there before the first step
    outputs : to be there after the last one
    """
    lives = _lives(steps, inputs, outputs)
    placed: list[tuple[int, int, int, int]] = []  # begin, end, first step, last step
    offsets = {}
    for number, value in enumerate(sorted(lives, key=lambda v: -v.nbytes)):
        first, last = lives[value]
        size = _padded(value.nbytes, number)
        begin = 0
        for other in sorted(p for p in placed if p[2] <= last and first <= p[3]):
            if other[0] >= begin + size:
                break
            begin = max(begin, other[1])
        placed.append((begin, begin + size, first, last))
        offsets[value] = begin
    return Layout(offsets, max((p[1] for p in placed), default=0), lives)


def _lives(
    steps: Sequence[Step], inputs: Iterable[Value], outputs: Iterable[Value]
) -> dict[Value, tuple[int, int]]:
    lives = {value.owner(): (-1, -1) for value in inputs}
    for number, step in enumerate(steps):
        for value in (*step.reads, *step.writes):
            owner = value.owner()
            lives[owner] = (lives.get(owner, (number, 0))[0], number)
    for value in outputs:
        owner = value.owner()
        lives[owner] = (lives.get(owner, (-1, 0))[0], len(steps))
    return lives


def _padded(nbytes: int, number: int) -> int:
    """Bytes that a value takes: whole lines, and of large ones some more, so that the next begins elsewhere in a page."""
    lines = -(-nbytes // LINE)
    if nbytes >= STAGGERED:
        lines += 17 * number % 64
    return max(lines, 1) * LINE
