"""Batch normalization as the formulas read: float64 inside, one rounding at the end.

The twin of ``_native_norm*.pxi``. Arrays are seen as (n, c, s) around the channel axis, of masked ones the valid
positions alone as (1, c, m). Input is taken to be valid: ``functional.norm`` judges it. This file explains batch norm;
it does not try to be fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class NormSaved:
    """What backward needs: references to the arguments and the statistics used, nothing recomputable.

    ``y`` is kept only for add + ReLU, whose sign cannot be recovered from x alone.
    """

    x: Array
    weight: Array | None
    bias: Array | None
    mean: Array
    inv_std: Array
    axis: int
    relu: bool
    training: bool
    has_residual: bool = False
    y: Array | None = field(default=None)
    runs: Array | None = field(default=None)
    r: Array | None = field(default=None)  # of batch renormalization
    d: Array | None = field(default=None)


def _all_channels(x: Array, axis: int) -> Array:
    """x as (n, c, s), without a copy for contiguous x."""
    axis %= x.ndim
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    return x.reshape(int(np.prod(before)), x.shape[axis], int(np.prod(after)))


def _positions(runs: Array) -> Array:
    """Valid positions from runs (first position, valid positions before): indices into the n * s vectors of c values."""
    lengths = np.diff(runs[:, 1])
    return np.arange(runs[-1, 1]) + np.repeat(runs[:-1, 0] - runs[:-1, 1], lengths)


def _channels(x: Array, axis: int, runs: Array | None) -> Array:
    """x as (n, c, s), or its valid positions as (1, c, m)."""
    x3 = _all_channels(x, axis)
    if runs is None:
        return x3
    n, c, s = x3.shape
    return np.moveaxis(x3, 1, 0).reshape(c, n * s)[None, :, _positions(runs)]


def _write(y: Array, axis: int, runs: Array | None, values: Array) -> None:
    """`values`, shaped as `_channels` gives them, into y; 0 at positions that do not count."""
    y3 = _all_channels(y, axis)
    if runs is None:
        y3[...] = values
        return
    flat = np.zeros((y3.shape[1], y3.shape[0] * y3.shape[2]))
    flat[:, _positions(runs)] = values[0]
    y3[...] = np.moveaxis(flat.reshape(y3.shape[1], y3.shape[0], y3.shape[2]), 0, 1)


def _column(v: Array | None, default: float) -> Array | float:
    """A per-channel vector shaped to broadcast against (n, c, s)."""
    return default if v is None else v.astype(np.float64)[:, None]


def inverse_std(var: Array, eps: float) -> Array:
    """1 / sqrt(var + eps); 0 where that is infinite, so that a constant channel with eps = 0 gives beta."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(var + eps == 0, 0.0, 1 / np.sqrt(var + eps))


def _rows(x3: Array) -> Array:
    """(n, c, s) as (c, m): one contiguous row a channel, along which NumPy sums pairwise and hence accurately."""
    n, c, s = x3.shape
    return np.ascontiguousarray(np.moveaxis(x3, 1, 0)).reshape(c, n * s)


def _sums(x3: Array) -> Array:
    """Sum of each channel, in float64."""
    return _rows(x3).sum(axis=1, dtype=np.float64)


def _moments(x3: Array) -> tuple[Array, Array]:
    """Mean and sum of squared deviations per channel, two passes.

    The first value of each channel is subtracted first: a constant channel then has exactly its value as mean. What
    the deviations still sum to is the rounding error of the mean, and corrects both results.
    """
    rows = _rows(x3)
    m = rows.shape[1]
    first = rows[:, 0].astype(np.float64)
    shift = (rows - first[:, None]).sum(axis=1) / m
    deviation = (rows - first[:, None]) - shift[:, None]
    left = deviation.sum(axis=1) / m
    return (first + shift) + left, np.square(deviation).sum(axis=1) - m * left * left


def statistics(x: Array, axis: int, runs: Array | None = None) -> tuple[int, Array, Array]:
    """Count, mean (c,) and M2 = sum of squared deviations (c,), in float64."""
    x3 = _channels(x, axis, runs)
    m = x3.shape[0] * x3.shape[2]
    if m == 0:
        return 0, np.zeros(x3.shape[1]), np.zeros(x3.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        mean, m2 = _moments(x3)
    return m, mean, m2


def normalize(
    x: Array,
    mean: Array,
    inv_std: Array,
    weight: Array | None,
    bias: Array | None,
    residual: Array | None,
    relu: bool,
    axis: int,
    training: bool,
    out: Array | None,
    runs: Array | None = None,
) -> tuple[Array, NormSaved]:
    """y = act(gamma (x - mean) inv_std + beta [+ residual]) with the statistics given."""
    saved = NormSaved(
        x, weight, bias, mean, inv_std, axis, relu, training, residual is not None, runs=runs
    )
    return apply(saved, residual, out), saved


def apply(saved: NormSaved, residual: Array | None, out: Array | None) -> Array:
    """The element-wise half of every forward pass: y = act(gamma x_hat + beta [+ residual])."""
    y = np.empty_like(saved.x) if out is None else out
    with np.errstate(invalid="ignore", over="ignore"):
        pre = _pre_activation(saved)
        if residual is not None:
            pre = pre + _channels(residual, saved.axis, saved.runs)
        _write(y, saved.axis, saved.runs, np.where(pre < 0, 0.0, pre) if saved.relu else pre)
    if saved.relu and residual is not None:
        saved.y = y
    return y


def batch_norm_train(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    residual: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    unbiased: bool,
    relu: bool,
    axis: int,
    out: Array | None,
    runs: Array | None = None,
) -> tuple[Array, NormSaved]:
    """Normalizes by the statistics of x itself and moves the running statistics towards them."""
    m, mean, m2 = statistics(x, axis, runs)
    var = m2 / max(m, 1)
    with np.errstate(over="ignore"):  # float32 data of 1e30 has a variance of 1e60: infinite there
        if m > 0 and running_mean is not None:
            running_mean[...] = (1 - momentum) * running_mean.astype(np.float64) + momentum * mean
        if m > 0 and running_var is not None:
            batch_var = m2 / (m - 1) if unbiased and m > 1 else var
            running_var[...] = (1 - momentum) * running_var.astype(
                np.float64
            ) + momentum * batch_var
    inv_std = inverse_std(var, eps)
    return normalize(x, mean, inv_std, weight, bias, residual, relu, axis, True, out, runs)


def batch_norm_eval(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    residual: Array | None,
    running_mean: Array,
    running_var: Array,
    eps: float,
    relu: bool,
    axis: int,
    out: Array | None,
    runs: Array | None = None,
) -> tuple[Array, NormSaved]:
    """Normalizes by the running statistics, which are constants for the gradient."""
    mean, inv_std = (
        running_mean.astype(np.float64),
        inverse_std(running_var.astype(np.float64), eps),
    )
    return normalize(x, mean, inv_std, weight, bias, residual, relu, axis, False, out, runs)


def _pre_activation(saved: NormSaved) -> Array:
    """gamma x_hat + beta, where renormalization's x_hat is r (x - mean) inv_std + d."""
    x_hat = _x_hat(saved)
    if saved.r is not None and saved.d is not None:
        x_hat = x_hat * saved.r[:, None] + saved.d[:, None]
    return x_hat * _column(saved.weight, 1.0) + _column(saved.bias, 0.0)


def _through_relu(dy: Array, saved: NormSaved) -> Array:
    """dy as `_channels` shapes it, zero where the ReLU was closed (output 0; a NaN lets the gradient pass)."""
    g = _channels(dy, saved.axis, saved.runs)
    if not saved.relu:
        return g
    if saved.y is not None:
        return np.where(_channels(saved.y, saved.axis, saved.runs) <= 0, 0.0, g)
    return np.where(_pre_activation(saved).astype(dy.dtype) <= 0, 0.0, g)


def _x_hat(saved: NormSaved) -> Array:
    """(x - mean) inv_std"""
    return (_channels(saved.x, saved.axis, saved.runs) - saved.mean[:, None]) * saved.inv_std[
        :, None
    ]


def gradient_sums(dy: Array, saved: NormSaved) -> tuple[int, Array, Array]:
    """m, sum of g and sum of g (x - mean) inv_std per channel, in float64; g is dy behind the ReLU."""
    with np.errstate(invalid="ignore", over="ignore"):
        g = _through_relu(dy, saved)
        m = g.shape[0] * g.shape[2]
        return m, _sums(g), _sums(g * _x_hat(saved))


def input_gradient(
    dy: Array, saved: NormSaved, count: float, sum_dy: Array, sum_dy_x_hat: Array, out: Array | None
) -> tuple[Array, Array | None]:
    """dx, and the gradient of the residual where there was one.

    Training: dx = gamma inv_std (dy - sum_dy / m - x_hat sum_dy_x_hat / m). Evaluation: dx = gamma inv_std dy.
    Batch renormalization: as in training, times r.
    """
    dx = np.empty_like(saved.x) if out is None else out
    r = 1.0 if saved.r is None else saved.r[:, None]
    with np.errstate(invalid="ignore", over="ignore"):
        g = _through_relu(dy, saved)
        centred = g
        if saved.training and count > 0:
            centred = g - sum_dy[:, None] / count - _x_hat(saved) * (sum_dy_x_hat[:, None] / count)
        scale = _column(saved.weight, 1.0) * r * saved.inv_std[:, None]
        _write(dx, saved.axis, saved.runs, centred * scale)
    if not saved.has_residual:
        return dx, None
    dresidual = np.empty_like(saved.x)
    _write(dresidual, saved.axis, saved.runs, g)
    return dx, dresidual


def batch_norm_backward(
    dy: Array, saved: NormSaved, dweight: Array | None, dbias: Array | None, out: Array | None
) -> tuple[Array | None, ...]:
    """(dx, dweight, dbias), and dresidual where there was a residual; None for an absent parameter."""
    count, sum_dy, sum_dy_x_hat = gradient_sums(dy, saved)
    dx, dresidual = input_gradient(dy, saved, count, sum_dy, sum_dy_x_hat, out)
    if saved.r is not None and saved.d is not None:
        sum_dy_x_hat = saved.r * sum_dy_x_hat + saved.d * sum_dy
    dweight = _store(sum_dy_x_hat, saved.weight, dweight)
    dbias = _store(sum_dy, saved.bias, dbias)
    return (dx, dweight, dbias, dresidual) if saved.has_residual else (dx, dweight, dbias)


def _store(value: Array, parameter: Array | None, target: Array | None) -> Array | None:
    if parameter is None:
        return None
    if target is None:
        return value.astype(parameter.dtype)
    target[...] = value
    return target
