"""Norms over rows, forward next to backward: layer norm and RMS norm, in float64 and as the formulas read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .norm import inverse_std, statistics

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class RowsSaved:
    """What backward needs: references to the arguments and the statistics used.

    ``mean`` and ``inv_std`` have the shape of x without its last ``axes`` axes. RMS norm has no ``mean``; its
    ``inv_std`` is that of the first ``squared`` values of a row, which is 0 for layer norm.
    """

    x: Array
    weight: Array | None
    bias: Array | None
    mean: Array | None
    inv_std: Array
    relu: bool
    axes: int
    squared: int


def _rows(a: Array, axes: int) -> Array:
    """(rows, d): what is in front of the normalized axes, and along them; no copy for contiguous arrays."""
    split = a.ndim - axes
    return a.reshape(math.prod(a.shape[:split]), math.prod(a.shape[split:]))


def _row(v: Array | None, default: float) -> Array | float:
    """A parameter to broadcast against (rows, d)."""
    return default if v is None else v.astype(np.float64).reshape(1, -1)


def _number_of(axis: int | tuple[int, ...]) -> int:
    return len(axis) if isinstance(axis, tuple) else 1


def layer_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    axis: int | tuple[int, ...],
    out: Array | None,
) -> tuple[Array, RowsSaved]:
    """y = act(gamma (x - mean) / sqrt(var + eps) + beta) with each row's own statistics."""
    axes = _number_of(axis)
    rows = _rows(x, axes)
    d = rows.shape[1]
    _, mean, m2 = statistics(rows, 0)
    lead = x.shape[: x.ndim - axes]
    inv_std = inverse_std(m2 / d, eps) if d else np.ones(len(rows))
    saved = RowsSaved(
        x, weight, bias, mean.reshape(lead), inv_std.reshape(lead), relu, axes, squared=0
    )
    return _forward(saved, out), saved


def rms_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    squared: int,
    relu: bool,
    axis: int | tuple[int, ...],
    out: Array | None,
) -> tuple[Array, RowsSaved]:
    """y = act(gamma x / sqrt(mean square + eps) + beta); of a row's first `squared` values, 0: all."""
    axes = _number_of(axis)
    rows = _rows(x, axes)
    d = rows.shape[1]
    squared = squared or max(d, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.square(rows[:, :squared].astype(np.float64)).sum(axis=1)
    inv_rms = inverse_std(total / squared, eps) if d else np.ones(len(rows))
    inv_std = inv_rms.reshape(x.shape[: x.ndim - axes])
    saved = RowsSaved(x, weight, bias, None, inv_std, relu, axes, squared)
    return _forward(saved, out), saved


def _x_hat(saved: RowsSaved) -> Array:
    """(rows, d)"""
    rows = _rows(saved.x, saved.axes).astype(np.float64)
    if saved.mean is not None:
        rows = rows - saved.mean.reshape(-1, 1)
    return rows * saved.inv_std.reshape(-1, 1)


def _before_relu(saved: RowsSaved, x_hat: Array) -> Array:
    return x_hat * _row(saved.weight, 1.0) + _row(saved.bias, 0.0)


def _forward(saved: RowsSaved, out: Array | None) -> Array:
    y = np.empty_like(saved.x) if out is None else out
    with np.errstate(invalid="ignore", over="ignore"):
        pre = _before_relu(saved, _x_hat(saved))
        _rows(y, saved.axes)[...] = np.where(pre < 0, 0.0, pre) if saved.relu else pre
    return y


def rows_norm_backward(
    dy: Array, saved: RowsSaved, dweight: Array | None, dbias: Array | None, out: Array | None
) -> tuple[Array | None, ...]:
    """(dx, dweight, dbias); None for an absent parameter. With w = gamma dy, means taken over each row:

    layer norm dx = inv_std (w - mean(w) - x_hat mean(w x_hat)), RMS norm dx = inv_std (w - x_hat mean(w x_hat)), where
    the second term is sum(w x_hat) / squared and only there for the first `squared` values.
    """
    dx = np.empty_like(saved.x) if out is None else out
    squared = saved.squared or None
    with np.errstate(invalid="ignore", over="ignore"):
        x_hat = _x_hat(saved)
        rows, d = x_hat.shape
        g = _rows(dy, saved.axes).astype(np.float64)
        if saved.relu:  # a NaN in front of the ReLU lets the gradient pass
            g = np.where(_before_relu(saved, x_hat).astype(dy.dtype) <= 0, 0.0, g)
        w = g * _row(saved.weight, 1.0)
        mean_wx = (w * x_hat).sum(axis=1, keepdims=True) / max(1, saved.squared or d)
        if saved.mean is not None:
            w = w - w.sum(axis=1, keepdims=True) / max(1, d)
        w[:, :squared] -= x_hat[:, :squared] * mean_wx
        _rows(dx, saved.axes)[...] = w * saved.inv_std.reshape(rows, 1)
        dweight = _store((g * x_hat).sum(axis=0), saved.weight, dweight)
    return dx, dweight, _store(g.sum(axis=0), saved.bias, dbias)


def _store(value: Array, parameter: Array | None, target: Array | None) -> Array | None:
    if parameter is None:
        return None
    target = np.empty_like(parameter) if target is None else target
    target[...] = value.reshape(parameter.shape)
    return target
