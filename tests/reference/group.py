"""Group norm as the formulas of the paper stand, in long double: the oracle of tests/groups.

Instance norm is the case of a group a channel; its running statistics are at the end.
"""

from __future__ import annotations

import numpy as np

from tests.reference.norm import vector

REAL = np.longdouble


def by_group(a, groups, axis):
    """(n, groups, channels, m): values of a channel of one group of one sample, in long double."""
    moved = np.moveaxis(np.asarray(a, REAL), axis, 1)
    n, c = moved.shape[:2]
    return moved.reshape(n, groups, c // groups, -1)


def back(a, shape, axis):
    """(n, groups, channels, m) -> the array's own shape."""
    rest = [d for i, d in enumerate(shape) if i not in (0, axis % len(shape))]
    return np.moveaxis(a.reshape(shape[0], shape[axis], *rest), 1, axis)


def statistics(x, groups, axis):
    """Mean and biased variance, (n, groups) each."""
    x4 = by_group(x, groups, axis)
    m = x4.shape[2] * x4.shape[3]
    mean = x4.sum(axis=(2, 3)) / m
    return mean, ((x4 - mean[..., None, None]) ** 2).sum(axis=(2, 3)) / m


def normalized(x, groups, eps, axis):
    """x_hat as (n, groups, channels, m), and 1 / sqrt(var + eps), 0 where that is infinite."""
    x4 = by_group(x, groups, axis)
    mean, var = statistics(x, groups, axis)
    inv_std = np.zeros_like(var)
    np.divide(1, np.sqrt(var + REAL(eps)), out=inv_std, where=var + REAL(eps) != 0)
    return (x4 - mean[..., None, None]) * inv_std[..., None, None], inv_std


def parameter(v, c, groups, default):
    return vector(v, c, default).reshape(1, groups, c // groups, 1)


def forward(x, groups, weight, bias, eps, axis, relu=False):
    """y = act(gamma (x - mean) / sqrt(var + eps) + beta)"""
    c = x.shape[axis]
    x_hat, _ = normalized(x, groups, eps, axis)
    y = x_hat * parameter(weight, c, groups, 1) + parameter(bias, c, groups, 0)
    y = back(y, x.shape, axis)
    return np.where(y < 0, 0, y) if relu else y


def backward(dy, x, groups, weight, eps, axis, open_gate=None):
    """dx, dgamma, dbeta; `open_gate` says where the ReLU let dy pass."""
    g = np.asarray(dy, REAL) if open_gate is None else np.where(open_gate, np.asarray(dy, REAL), 0)
    g, c = by_group(g, groups, axis), x.shape[axis]
    x_hat, inv_std = normalized(x, groups, eps, axis)
    w = g * parameter(weight, c, groups, 1)
    m = w.shape[2] * w.shape[3]
    mean_w, mean_wx = (a.sum(axis=(2, 3), keepdims=True) / m for a in (w, w * x_hat))
    dx = inv_std[..., None, None] * (w - mean_w - x_hat * mean_wx)
    dgamma, dbeta = (a.sum(axis=(0, 3)).reshape(c) for a in (g * x_hat, g))
    return back(dx, x.shape, axis), dgamma, dbeta


def running(x, axis, old_mean, old_var, momentum, unbiased):
    """Instance norm's running statistics after x: towards the averages over the samples."""
    mean, var = statistics(x, x.shape[axis], axis)
    m = x.size // (x.shape[0] * x.shape[axis])
    if unbiased:
        var = var * m / (m - 1)
    return (
        (1 - REAL(momentum)) * np.asarray(old_mean, REAL) + momentum * mean.mean(axis=0),
        (1 - REAL(momentum)) * np.asarray(old_var, REAL) + momentum * var.mean(axis=0),
    )
