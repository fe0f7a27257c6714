"""Which of a number of rewrites breaks a model: a binary search over how many of them are applied."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["first_wrong"]


def first_wrong(total: int, agrees: Callable[[int], bool]) -> int | None:
    """The smallest k for which the model with the first k of ``total`` rewrites disagrees, found in log2(total) trials.

    ``agrees(total)`` is known to be false. None if even k = 0 disagrees: then no rewrite is to blame. Exact if a wrong
    rewrite stays wrong; else k is still one whose rewrite turned agreement into disagreement.
    """
    if not agrees(0):
        return None
    good, bad = 0, total
    while bad - good > 1:
        middle = (good + bad) // 2
        if agrees(middle):
            good = middle
        else:
            bad = middle
    return bad
