"""Linear layer in NumPy: y = x Wᵀ + b along the last axis, with an optional ReLU behind it."""

from __future__ import annotations

import numpy as np


def linear(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, relu: bool, out: np.ndarray | None
) -> np.ndarray:
    """x (..., in), weight (out, in), bias (out,) -> y (..., out)."""
    y = np.matmul(x, weight.T, out=out)
    if bias is not None:
        y += bias
    return np.maximum(y, 0, out=y) if relu else y


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
    g = dy if y is None else np.where(y <= 0, 0, dy)
    dx = g @ weight if need_dx else None
    rows = g.reshape(-1, weight.shape[0])
    dweight = np.matmul(rows.T, x.reshape(-1, weight.shape[1]), out=dweight)
    if need_dbias:
        dbias = np.sum(rows, axis=0, out=dbias)
    return dx, dweight, dbias
