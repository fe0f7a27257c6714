"""Statistics of weighted samples as the formulas read, in float64. The twin of ``_native_weighted.pxi``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .norm import _all_channels

Array = np.ndarray[Any, Any]


def weighted_statistics(x: Array, weights: Array, axis: int) -> tuple[float, Array, Array]:
    """Sum of weights per channel, mean (c,) and M2 = sum of w (x - mean)**2 (c,).

    Two passes, the first value of each channel subtracted first: what the deviations still sum to is the rounding error
    of the mean, and corrects both results.
    """
    x3 = _all_channels(x, axis)
    n, c, s = x3.shape
    rows = np.ascontiguousarray(np.moveaxis(x3, 1, 0)).reshape(c, n * s).astype(np.float64)
    w = np.repeat(weights, s)
    count = float(w.sum())
    with np.errstate(invalid="ignore", over="ignore"):
        first = rows[:, :1].copy()
        shift = ((rows - first) * w).sum(axis=1, keepdims=True) / count
        deviation = (rows - first) - shift
        left = (deviation * w).sum(axis=1, keepdims=True) / count
        mean = (first + shift) + left
        m2 = (np.square(deviation) * w).sum(axis=1, keepdims=True) - count * left * left
    return count, mean[:, 0], np.maximum(m2[:, 0], 0)  # NaN stays
