"""Linear layer in NumPy: y = x Wᵀ + b over rows, with an optional ReLU behind it."""

from __future__ import annotations

import numpy as np


def linear(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, relu: bool, out: np.ndarray | None
) -> np.ndarray:
    """x (rows, in), weight (out, in), bias (out,) -> y (rows, out)."""
    y = np.matmul(x, weight.T, out=out)
    if bias is not None:
        y += bias
    if relu:
        np.maximum(y, 0, out=y)
    return y


def linear_backward(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    y: np.ndarray | None,
    need_dx: bool,
    need_dbias: bool,
    dweight: np.ndarray | None,
    dbias: np.ndarray | None,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """(dx or None, dweight, dbias or None); `y` is given if a ReLU followed."""
    g = dy if y is None else dy * (y > 0)
    dx = g @ weight if need_dx else None
    dweight = np.matmul(g.T, x, out=dweight)
    if need_dbias:
        dbias = np.sum(g, axis=0, out=dbias)
    return dx, dweight, dbias
