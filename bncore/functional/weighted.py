"""Statistics of samples that carry weights: judged here, measured by the backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ._check import normalize_axis, real_array
from .moments import Statistics, statistics

Array = np.ndarray[Any, Any]


def sample_weights(weights: Any, count: int | None = None, *, offset: int = 0) -> Array:
    """`weights` as float64 of shape (count,), or the error that says what is wrong; `count` None takes any number.

    ``offset`` is how many samples came before, for the error.
    """
    if not isinstance(weights, (np.ndarray, list, tuple)):
        raise TypeError(f"weights must be an array of numbers, got {type(weights).__name__}")
    w = np.asarray(weights)
    if w.dtype.kind not in "iufb":
        raise TypeError(f"weights must be real numbers, got {w.dtype}")
    wanted = "(samples,)" if count is None else f"({count},), one number per sample"
    if w.ndim != 1 or (count is not None and len(w) != count):
        raise ValueError(f"weights must have shape {wanted}, got {w.shape}")
    w = np.ascontiguousarray(w, np.float64)
    good = (w >= 0) & (w < np.inf)
    if not good.all():
        first = int(np.argmin(good))
        raise ValueError(
            f"weights must be finite and >= 0, got {w[first]} for sample {first + offset}"
        )
    return w


def weighted_statistics(x: Array, weights: Array, *, axis: int = 1) -> Statistics:
    """Mean and variance of every channel of samples that count as much as their weights say.

    ``mean = sum(w x) / sum(w)``, ``var = sum(w (x - mean)**2) / sum(w)``

    Parameters
    ----------
    x : ndarray, rank >= 2, float32 or float64
        Samples along axis 0.
    weights : ndarray, shape (samples,), real numbers
        Finite and >= 0; a weight of 2 counts like a sample that is there twice. A sample of weight 0 is not looked at:
        NaN there does no harm.
    axis : int
        The channel axis; not that of the samples.

    Returns
    -------
    Statistics
        Whose count is the sum of the weights times the number of positions per sample and channel. Weights that are
        all equal give mean and variance of `statistics`, to the bit.

    Raises
    ------
    TypeError, ValueError
        As `statistics`; for weights of a wrong kind, shape or sign; for ``axis`` 0.

    Notes
    -----
    Sums of weighted deviations in float64 over blocks, merged (Chan, Golub & LeVeque 1979).
    """
    x = real_array(x, "x")
    if x.ndim < 2:
        raise ValueError(f"x must have rank >= 2, got shape {x.shape}")
    axis = normalize_axis(axis, x.ndim)
    if axis == 0:
        raise ValueError("axis must not be 0 for weighted samples: they lie along that axis, got 0")
    w = sample_weights(weights, len(x))
    if len(w) and w.min() == 0:
        x, w = x[w > 0], w[w > 0]
    if x.size == 0 or w.min() == w.max():
        stats = statistics(x, axis=axis)
        return Statistics(stats.count * float(w[0]) if len(w) else 0.0, stats.mean, stats.var)
    positions = int(np.prod(x.shape[1:axis]))
    count, mean, m2 = backend.active.weighted_statistics(x, np.repeat(w, positions), axis)
    return Statistics(count, mean, m2 / count)
