"""Ghost batches: batch normalization of consecutive groups of samples, each by its own statistics.

Made of the fused forward pass and the halves of the backward pass, group by group on slices; no arithmetic of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from ..support import checks
from ._check import output
from ._norm_check import Array, judge, judge_dy, judge_running
from .halves import gradient_sums, input_gradient
from .masks import valid_runs
from .moments import GradientSums
from .norm import batch_norm


@dataclass(frozen=True)
class GhostSaved:
    """What `ghost_batch_norm_backward` needs: the groups' borders along axis 0 and what each forward saved.

    Attributes
    ----------
    x, weight, bias : ndarray or None
        The arguments.
    y : ndarray or None
        The output, if the backward pass reads it.
    borders : tuple of int
    groups : tuple
        States of `batch_norm`, one per group.
    updates : int
        How many updates the running statistics got: the number of groups that hold values.
    has_residual : bool
    channels : int
    """

    x: Array
    weight: Array | None
    bias: Array | None
    y: Array | None
    borders: tuple[int, ...]
    groups: tuple[Any, ...]
    updates: int
    has_residual: bool
    channels: int


def ghost_batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    ghost_batch_size: int,
    momentum: float | Iterable[float] = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str | None = None,
    residual: Array | None = None,
    unbiased: bool = True,
    mask: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, GhostSaved]:
    """Batch normalization in training, with statistics over groups of samples instead of the whole batch.

    Samples 0 to g - 1 are the first group, g to 2 g - 1 the second one and so on, g being ``ghost_batch_size``; the
    last group takes what remains. The running statistics get one update per group, in order.

    Parameters
    ----------
    ghost_batch_size : int
        Samples of a group, >= 1.
    momentum : float or iterable of float
        Weight of the **new** value, or that of every update in turn (at least as many as there are groups).
    axis : int
        The channel axis; not 0, along which the groups lie.
    mask : ndarray or None
        Cut along axis 0 like x. A group without valid positions gives zeros and no update.

    Returns
    -------
    y : ndarray, shape of x
    saved : GhostSaved
        For `ghost_batch_norm_backward`.

    Raises
    ------
    TypeError, ValueError
        As `batch_norm`; also if a group has one value per channel, before anything is changed.

    See Also
    --------
    batch_norm : the other parameters.

    Notes
    -----
    Hoffer, Hubara & Soudry 2017, arXiv 1705.08741, Algorithm 1. Evaluation is that of `batch_norm`.
    """
    size = checks.positive_int(ghost_batch_size, "ghost_batch_size")
    x, weight, bias, residual, axis, relu, out = judge(
        x, weight, bias, residual, axis, activation, out
    )
    if axis == 0:
        raise ValueError(
            f"axis must not be 0, along which the groups of samples lie, got shape {x.shape}"
        )
    others = (x, weight, bias, residual, out)
    names = ("running_mean", "running_var")
    running_mean, running_var = judge_running(running_mean, running_var, names, axis, others)
    borders = (*range(0, len(x), size), len(x))
    mask = None if mask is None else np.asarray(mask)
    counts = _values_per_channel(x, axis, borders, mask)
    updates = sum(count > 0 for count in counts)
    rates = iter(_rates(momentum, updates))
    y = np.empty_like(x) if out is None else out
    groups = []
    for (a, b), count in zip(pairwise(borders), counts, strict=True):
        _, saved = batch_norm(
            x[a:b],
            weight,
            bias,
            running_mean,
            running_var,
            momentum=next(rates) if count else 0.0,
            eps=eps,
            axis=axis,
            activation=activation,
            residual=None if residual is None else residual[a:b],
            unbiased=unbiased,
            mask=None if mask is None else mask[a:b],
            out=y[a:b],
        )
        groups.append(saved)
    kept = y if relu and residual is not None else None
    return y, GhostSaved(
        x,
        weight,
        bias,
        kept,
        borders,
        tuple(groups),
        updates=updates,
        has_residual=residual is not None,
        channels=x.shape[axis],
    )


def ghost_batch_norm_backward(
    dy: Array,
    saved: GhostSaved,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    out: Array | None = None,
) -> tuple[Array | None, ...]:
    """Gradients of `ghost_batch_norm`: `batch_norm_backward` of every group.

    dweight and dbias are the sums over all groups, taken in float64 and rounded once.

    Parameters
    ----------
    dy : ndarray, shape and dtype of x
    saved : GhostSaved
        From the forward call.
    dweight, dbias, out
        As for `batch_norm_backward`.

    Returns
    -------
    dx, dweight, dbias : ndarray
        None for an absent parameter. With a residual a fourth value, dresidual.

    Raises
    ------
    TypeError, ValueError
        As `batch_norm_backward`.
    """
    if not isinstance(saved, GhostSaved):
        raise TypeError(f"saved must be what ghost_batch_norm returned, got {type(saved).__name__}")
    dy, out = judge_dy(dy, saved, out)
    others = (dy, saved.x, saved.y, saved.weight, saved.bias, out)
    c = (saved.channels,)
    if saved.weight is not None:
        dweight = output(dweight, c, dy.dtype, "dweight", others)
    if saved.bias is not None:
        dbias = output(dbias, c, dy.dtype, "dbias", (*others, dweight))
    dx = np.empty_like(saved.x) if out is None else out
    dresidual = np.empty_like(saved.x) if saved.has_residual else None
    total = GradientSums(0, np.zeros(c), np.zeros(c))
    for (a, b), group in zip(pairwise(saved.borders), saved.groups, strict=True):
        sums = gradient_sums(dy[a:b], group)
        total = total.merge(sums)
        part = input_gradient(dy[a:b], group, sums, out=dx[a:b])
        if dresidual is not None:
            dresidual[a:b] = part[1]
    dweight = _stored(total.dy_x_hat, saved.weight, dweight)
    dbias = _stored(total.dy, saved.bias, dbias)
    return (dx, dweight, dbias) if dresidual is None else (dx, dweight, dbias, dresidual)


def _stored(value: Array, parameter: Array | None, target: Array | None) -> Array | None:
    if parameter is None:
        return None
    if target is None:
        return value.astype(parameter.dtype)
    target[...] = value
    return target


def _rates(momentum: float | Iterable[float], updates: int) -> list[float]:
    """The weight of the new value in each update."""
    if not isinstance(momentum, Iterable):
        return [checks.fraction(momentum, "momentum")] * updates
    rates = [checks.fraction(rate, "momentum") for rate in islice(momentum, updates)]
    if len(rates) < updates:
        raise ValueError(f"momentum must be one number or {updates} of them, got {len(rates)}")
    return rates


def _values_per_channel(
    x: Array, axis: int, borders: tuple[int, ...], mask: Array | None
) -> list[int]:
    """How many values every group has for a channel; a ValueError if one has a single one."""
    if mask is None:
        per_sample = math.prod(x.shape[1:axis]) * math.prod(x.shape[axis + 1 :])
        counts = [(b - a) * per_sample for a, b in pairwise(borders)]
    else:
        valid_runs(mask, x.shape, axis)  # judges the whole of it, slices of which always fit
        counts = [
            int(valid_runs(mask[a:b], x[a:b].shape, axis)[-1, 1]) for a, b in pairwise(borders)
        ]
    if 1 in counts and x.size:
        number = counts.index(1)
        first, last = borders[number], borders[number + 1] - 1
        group = f"sample {first}" if first == last else f"samples {first} to {last}"
        raise ValueError(
            f"every ghost batch needs more than one value per channel, got one in {group} of input of shape "
            f"{x.shape} with axis={axis}: choose batch and ghost_batch_size such that no single sample remains"
        )
    return counts
