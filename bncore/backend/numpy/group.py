"""Group and instance normalization as the formulas read: float64 inside, one rounding at the end.

The twin of ``_native_group.pxi``. Arrays are seen as (n, a, groups, channels of a group, s): samples, the axes before
the channel axis, the channels by groups, the axes behind. Input is taken to be valid: ``functional`` judges it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .norm import inverse_std, statistics

Array = np.ndarray[Any, Any]
WITHIN = (1, 3, 4)  # what one group's statistics are taken over
OVER_CHANNELS = (0, 1, 4)  # what the gradient of one channel's parameter is summed over


@dataclass(slots=True)
class GroupSaved:
    """What backward needs: references to the arguments and the statistics used, (n, groups) in float64."""

    x: Array
    weight: Array | None
    bias: Array | None
    mean: Array
    inv_std: Array
    axis: int
    num_groups: int
    relu: bool


def _groups(x: Array, axis: int, groups: int) -> Array:
    """x as (n, a, groups, channels of a group, s), without a copy for contiguous x."""
    axis %= x.ndim
    a, s = int(np.prod(x.shape[1:axis])), int(np.prod(x.shape[axis + 1 :]))
    return x.reshape(x.shape[0], a, groups, x.shape[axis] // max(groups, 1), s)


def _wide(v: Array) -> Array:
    """(n, groups) statistics shaped to broadcast against `_groups`."""
    return v[:, None, :, None, None]


def _by_group(v: Array | None, groups: int, default: float) -> Array | float:
    """A (c,) parameter shaped to broadcast against `_groups`."""
    return default if v is None else v.astype(np.float64).reshape(groups, -1 if groups else 0, 1)


def _moments(x5: Array) -> tuple[int, Array, Array]:
    """Values of a group, their mean and their sum of squared deviations, (n, groups) each."""
    n, a, groups, channels, s = x5.shape
    rows = np.moveaxis(x5, 2, 1).reshape(n * groups, a * channels * s)
    count, mean, m2 = statistics(rows, 0)
    return count, mean.reshape(n, groups), m2.reshape(n, groups)


def _normalize(
    x: Array,
    mean: Array,
    inv_std: Array,
    weight: Array | None,
    bias: Array | None,
    relu: bool,
    axis: int,
    out: Array | None,
) -> tuple[Array, GroupSaved]:
    """y = act(gamma (x - mean) inv_std + beta)"""
    groups = mean.shape[1]
    y = np.empty_like(x) if out is None else out
    with np.errstate(invalid="ignore", over="ignore"):
        x_hat = (_groups(x, axis, groups) - _wide(mean)) * _wide(inv_std)
        pre = x_hat * _by_group(weight, groups, 1.0) + _by_group(bias, groups, 0.0)
        _groups(y, axis, groups)[...] = np.where(pre < 0, 0.0, pre) if relu else pre
    return y, GroupSaved(x, weight, bias, mean, inv_std, axis, groups, relu)


def group_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    num_groups: int,
    eps: float,
    relu: bool,
    axis: int,
    out: Array | None,
) -> tuple[Array, GroupSaved]:
    """Normalizes every sample's groups of channels by statistics of their own."""
    count, mean, m2 = _moments(_groups(x, axis, num_groups))
    inv_std = inverse_std(m2 / max(count, 1), eps)
    return _normalize(x, mean, inv_std, weight, bias, relu, axis, out)


def instance_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    unbiased: bool,
    relu: bool,
    axis: int,
    out: Array | None,
) -> tuple[Array, GroupSaved]:
    """The same with a group a channel; running statistics move towards the samples' averages."""
    count, mean, m2 = _moments(_groups(x, axis, x.shape[axis]))
    with np.errstate(over="ignore"):
        if x.size and running_mean is not None:
            old = running_mean.astype(np.float64)
            running_mean[...] = (1 - momentum) * old + momentum * mean.mean(axis=0)
        if x.size and running_var is not None:
            old, var = running_var.astype(np.float64), m2 / (count - 1 if unbiased else count)
            running_var[...] = (1 - momentum) * old + momentum * var.mean(axis=0)
    inv_std = inverse_std(m2 / max(count, 1), eps)
    return _normalize(x, mean, inv_std, weight, bias, relu, axis, out)


def _through_relu(dy5: Array, x_hat: Array, saved: GroupSaved) -> Array:
    """dy where the ReLU was open (its input not <= 0; a NaN lets the gradient pass)."""
    if not saved.relu:
        return dy5
    groups = saved.num_groups
    pre = x_hat * _by_group(saved.weight, groups, 1.0) + _by_group(saved.bias, groups, 0.0)
    return np.where(pre.astype(dy5.dtype) <= 0, 0.0, dy5)


def group_norm_backward(
    dy: Array, saved: GroupSaved, dweight: Array | None, dbias: Array | None, out: Array | None
) -> tuple[Array, Array | None, Array | None]:
    """(dx, dweight, dbias); None for an absent parameter.

    w = gamma dy:  dx = inv_std (w - mean(w) - x_hat mean(w x_hat)), means over the group.
    """
    axis, groups = saved.axis, saved.num_groups
    dx = np.empty_like(saved.x) if out is None else out
    with np.errstate(invalid="ignore", over="ignore"):
        x_hat = (_groups(saved.x, axis, groups) - _wide(saved.mean)) * _wide(saved.inv_std)
        g = _through_relu(_groups(dy, axis, groups), x_hat, saved)
        dweight = _sums(g * x_hat, saved.weight, dweight)
        dbias = _sums(g, saved.bias, dbias)
        if dx.size:
            w = g * _by_group(saved.weight, groups, 1.0)
            mean_w = w.mean(axis=WITHIN, dtype=np.float64, keepdims=True)
            mean_wx = (w * x_hat).mean(axis=WITHIN, keepdims=True)
            _groups(dx, axis, groups)[...] = (w - mean_w - x_hat * mean_wx) * _wide(saved.inv_std)
    return dx, dweight, dbias


def _sums(values: Array, parameter: Array | None, target: Array | None) -> Array | None:
    """A channel's sums over samples and space, where there is such a parameter."""
    if parameter is None:
        return None
    sums = values.sum(axis=OVER_CHANNELS, dtype=np.float64).reshape(-1)
    if target is None:
        return sums.astype(parameter.dtype)
    target[...] = sums
    return target
