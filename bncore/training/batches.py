"""Which samples go into which batch: evenly split, shuffled from a seed.

Knows numbers of samples, not arrays.

Design: n samples make ``ceil(n / batch_size)`` batches whose sizes differ by at most one. A tail
batch of what is left over would be normalized by the statistics of a few rows, and those few rows
can wreck a trained net within one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ..support import checks

__all__ = ["batch_borders", "epoch_batches"]


def batch_borders(n: int, batch_size: int, *, smallest: int = 1) -> list[int]:
    """Borders ``b`` of even batches: batch ``i`` holds the samples ``b[i]`` to ``b[i + 1] - 1``.

    Parameters
    ----------
    n : int
        Number of samples; 0 gives no batch.
    batch_size : int
        No batch is larger, except where ``smallest`` leaves no other way.
    smallest : int
        No batch is smaller. With 2, three samples in batches of two make one batch of three: a
        training norm cannot use a batch of one.

    Raises
    ------
    ValueError
        If ``batch_size`` is below 1 or below ``smallest``, or ``n`` is above 0 and below
        ``smallest``.
    """
    n, batch_size = checks.non_negative_int(n, "n"), checks.positive_int(batch_size, "batch_size")
    if batch_size < smallest:
        raise ValueError(
            f"batch_size must be at least {smallest}, got {batch_size}: batch norm in "
            "training compares the samples of a batch "
            "(freeze its statistics or use a larger batch)"
        )
    if 0 < n < smallest:
        raise ValueError(
            f"x must hold at least {smallest} samples, got {n}: batch norm in training "
            "compares the samples of a batch "
            "(freeze its statistics or give more samples)"
        )
    if n == 0:
        return [0]
    count = min(-(-n // batch_size), n // smallest)
    return [n * i // count for i in range(count + 1)]


def epoch_batches(
    n: int, batch_size: int, rng: np.random.Generator, *, smallest: int = 1
) -> Iterator[np.ndarray]:
    """The batches of one epoch.

    Index arrays that together are one random permutation of ``range(n)``, split by
    :func:`batch_borders`.
    """
    borders = batch_borders(n, batch_size, smallest=smallest)
    order = rng.permutation(n)
    for begin, end in pairwise(borders):
        yield order[begin:end]
