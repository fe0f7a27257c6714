"""Layer norm and RMS norm as the formulas of the papers stand, in long double, one loop over rows: the oracle of tests/rows."""

from __future__ import annotations

import math

import numpy as np

REAL = np.longdouble


def by_row(a, axes):
    """(rows, d) in long double."""
    a = np.asarray(a, REAL)
    return a.reshape(math.prod(a.shape[: a.ndim - axes]), math.prod(a.shape[a.ndim - axes :]))


def parameter(v, d, default):
    return np.full(d, default, REAL) if v is None else np.asarray(v, REAL).reshape(d)


def statistics(row, kind, leading, eps):
    """What is subtracted from a row (0 for RMS norm), and 1 / sqrt(variance or mean square + eps)."""
    if kind == "layer":
        mean = np.sum(row) / row.size
        square = np.sum((row - mean) ** 2) / row.size
    else:
        mean = REAL(0)
        square = np.sum(row[:leading] ** 2) / leading
    return mean, REAL(0) if square + REAL(eps) == 0 else 1 / np.sqrt(square + REAL(eps))


def forward(x, weight, bias, eps, kind, axes=1, leading=None, relu=False):
    """y = act(gamma x_hat + beta)"""
    rows = by_row(x, axes)
    d = rows.shape[1]
    gamma, beta = parameter(weight, d, 1), parameter(bias, d, 0)
    y = np.empty_like(rows)
    for i, row in enumerate(rows):
        mean, inv = statistics(row, kind, leading or d, eps)
        y[i] = gamma * ((row - mean) * inv) + beta
    return np.where(y < 0, 0, y).reshape(x.shape) if relu else y.reshape(x.shape)


def backward(dy, x, weight, eps, kind, axes=1, leading=None, open_gate=None):
    """dx, dgamma, dbeta; `open_gate` says where the ReLU let dy pass."""
    g = np.asarray(dy, REAL) if open_gate is None else np.where(open_gate, np.asarray(dy, REAL), 0)
    rows, g = by_row(x, axes), by_row(g, axes)
    d = rows.shape[1]
    leading = leading or d
    gamma = parameter(weight, d, 1)
    dx, dgamma, dbeta = np.empty_like(rows), np.zeros(d, REAL), np.zeros(d, REAL)
    for i, row in enumerate(rows):
        mean, inv = statistics(row, kind, leading, eps)
        x_hat, w = (row - mean) * inv, gamma * g[i]
        dgamma += g[i] * x_hat
        dbeta += g[i]
        through_root = np.where(np.arange(d) < leading, x_hat * np.sum(w * x_hat) / leading, 0)
        through_mean = np.sum(w) / d if kind == "layer" else 0
        dx[i] = inv * (w - through_mean - through_root)
    shape = x.shape[x.ndim - axes :]
    return dx.reshape(x.shape), dgamma.reshape(shape), dbeta.reshape(shape)
