"""What tests of several areas share: derivatives by differences, and tolerances with their reasons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def central_difference(
    f: Callable[[Array], Array], x: Array, dy: Array, step: float = 1e-6
) -> Array:
    """Gradient of ``sum(dy * f(x))`` with respect to x, in float64, by differences of second order.

    With a step h the error is of the order of h**2 plus 1e-16 / h: about 1e-9 relative for values around 1.
    """
    x = np.array(x, np.float64)
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        h = step * max(1.0, abs(x[i]))
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        gradient[i] = np.sum(dy * (np.asarray(f(up), np.float64) - f(down))) / (up[i] - down[i])
    return gradient


def tolerance(dtype: Any, roundings: float = 16) -> float:
    """That many roundings of `dtype`: for results a handful of operations away from exact ones."""
    return roundings * float(np.finfo(dtype).eps) / 2


def relative_error(value: Any, exact: Any) -> float:
    """Largest error in units of the largest magnitude of `exact` (of 1e-300 for zeros)."""
    exact = np.asarray(exact, np.float64)
    if exact.size == 0:
        return 0.0
    return float(
        np.max(np.abs(np.asarray(value, np.float64) - exact)) / max(1e-300, np.max(np.abs(exact)))
    )
