"""How long a net takes to answer: two nets timed in turns, medians of many. For a remark after training; see benchmarks/ for more."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["compare"]


def compare(
    before: Callable[[np.ndarray], Any],
    after: Callable[[np.ndarray], Any],
    x: np.ndarray,
    *,
    batch_size: int,
    seconds: float = 0.3,
) -> dict[str, float | int]:
    """Median microseconds per sample of two nets in evaluation mode, on the same batch.

    The two take turns, so that a change of the machine's mood meets both.

    Parameters
    ----------
    before, after : callable
        Take a batch, return the answer.
    x : array (n, ...)
        Samples; repeated if there are fewer than ``batch_size``.
    seconds : float
        About how long to measure, warm-up not counted; at least 7 rounds are run.
    """
    batch = np.ascontiguousarray(np.resize(x, (batch_size, *x.shape[1:])))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):  # first calls allocate, choose and fill caches
        before(batch)
        after(batch)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 7:
        for net, record in zip((before, after), times, strict=True):
            start = time.perf_counter()
            net(batch)
            record.append(time.perf_counter() - start)
    scale = 1e6 / batch_size
    return {
        "before": scale * statistics.median(times[0]),
        "after": scale * statistics.median(times[1]),
        "batch_size": batch_size,
    }
