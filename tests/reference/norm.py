"""Batch norm as the formulas of the paper stand, in long double, one loop over channels: the oracle of tests/norm."""

from __future__ import annotations

import numpy as np

REAL = np.longdouble


def by_channel(a, axis):
    """(c, m) in long double."""
    return np.moveaxis(np.asarray(a, REAL), axis, 0).reshape(a.shape[axis], -1)


def back(a, shape, axis):
    """(c, m) -> the array's own shape."""
    axis %= len(shape)
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.moveaxis(a.reshape(moved), 0, axis)


def vector(v, c, default):
    return np.full(c, default, REAL) if v is None else np.asarray(v, REAL)


def forward(x, weight, bias, mean, var, eps, axis, relu=False, residual=None):
    """y = act(gamma (x - mean) / sqrt(var + eps) + beta + residual)"""
    rows, c = by_channel(x, axis), x.shape[axis]
    gamma, beta = vector(weight, c, 1), vector(bias, c, 0)
    y = np.empty_like(rows)
    for j in range(c):
        root = np.sqrt(var[j] + REAL(eps))
        y[j] = (gamma[j] * (rows[j] - mean[j]) / root if root != 0 else 0 * rows[j]) + beta[j]
    y = back(y, x.shape, axis)
    if residual is not None:
        y = y + np.asarray(residual, REAL)
    return np.where(y < 0, 0, y) if relu else y


def statistics(x, axis):
    """Mean and biased variance, (c,) each."""
    rows = by_channel(x, axis)
    mean = np.array([np.sum(row) / row.size for row in rows])
    return mean, np.array(
        [np.sum((row - m) ** 2) / row.size for row, m in zip(rows, mean, strict=True)]
    )


def backward(dy, x, weight, bias, mean, var, eps, axis, training, open_gate=None):
    """dx, dgamma, dbeta, g; `open_gate` says where the ReLU let dy pass."""
    g_full = (
        np.asarray(dy, REAL) if open_gate is None else np.where(open_gate, np.asarray(dy, REAL), 0)
    )
    rows, g, c = by_channel(x, axis), by_channel(g_full, axis), x.shape[axis]
    gamma, m = vector(weight, c, 1), rows.shape[1]
    dx, dgamma, dbeta = np.empty_like(rows), np.empty(c, REAL), np.empty(c, REAL)
    for j in range(c):
        inv_std = 1 / np.sqrt(var[j] + REAL(eps))
        x_hat = (rows[j] - mean[j]) * inv_std
        dgamma[j], dbeta[j] = np.sum(g[j] * x_hat), np.sum(g[j])
        dx[j] = gamma[j] * inv_std * g[j]
        if training:
            dx[j] = gamma[j] * inv_std / m * (m * g[j] - dbeta[j] - x_hat * dgamma[j])
    return back(dx, x.shape, axis), dgamma, dbeta, g_full
