"""Which value lies where: values that are not needed at the same time share memory. No memory is taken here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .values import Step, Value

__all__ = ["Layout", "lay_out"]

Life = tuple[int, int]
LINE = 64  # bytes: a cache line, and the widest vector register
STAGGERED = 1 << 16  # arrays of so many bytes and more do not begin at equal places of pages


@dataclass(frozen=True, slots=True)
class Layout:
    """Where values begin in one block of memory, and how much of it there is."""

    offsets: dict[Value, int]
    nbytes: int
    lives: dict[Value, list[Life]]
    """First and last step that needs a value; more than once where it is computed again."""


def lay_out(steps: Sequence[Step], inputs: Iterable[Value], outputs: Iterable[Value]) -> Layout:
    """Places for all values of ``steps``: the largest first, each at the lowest place that is free while it lives.

    Parameters
    ----------
    steps : in the order in which they run
    inputs : there before the first step
    outputs : to be there after the last one
    """
    lives = _lives(steps, inputs, outputs)
    placed: list[tuple[int, int, list[Life]]] = []  # begin, end
    offsets = {}
    for number, value in enumerate(sorted(lives, key=lambda v: -v.nbytes)):
        mine = lives[value]
        size = _padded(value.nbytes, number)
        begin = 0
        for other_begin, other_end, theirs in sorted(placed, key=lambda p: p[:2]):
            if not _meet(mine, theirs):
                continue
            if other_begin >= begin + size:
                break
            begin = max(begin, other_end)
        placed.append((begin, begin + size, mine))
        offsets[value] = begin
    return Layout(offsets, max((end for _, end, _ in placed), default=0), lives)


def _meet(mine: list[Life], theirs: list[Life]) -> bool:
    """Whether both are needed at any time."""
    return any(a <= d and c <= b for a, b in mine for c, d in theirs)


def _lives(
    steps: Sequence[Step], inputs: Iterable[Value], outputs: Iterable[Value]
) -> dict[Value, list[Life]]:
    lives = {value.owner(): [(-1, -1)] for value in inputs}
    for number, step in enumerate(steps):
        again = {value.owner() for value in step.writes} if step.again else set()
        for value in (*step.reads, *step.writes):
            owner = value.owner()
            known = lives.setdefault(owner, [(number, number)])
            if owner in again:
                known.append((number, number))
            else:
                known[-1] = (known[-1][0], number)
    for value in outputs:
        known = lives.setdefault(value.owner(), [(-1, -1)])
        known[-1] = (known[-1][0], len(steps))
    return lives


def _padded(nbytes: int, number: int) -> int:
    """Bytes that a value takes: whole lines, and of large ones some more, so that the next begins elsewhere in a page."""
    lines = -(-nbytes // LINE)
    if nbytes >= STAGGERED:
        lines += 17 * number % 64
    return max(lines, 1) * LINE
