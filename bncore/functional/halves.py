"""The halves of batch norm: normalize by statistics measured elsewhere, gradient sums, input gradient.

With them a batch may be taken in pieces, or on several machines: results of the first half of each pass merge.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from ._norm_check import Array, implementation_of, judge, judge_dy
from .masks import valid_runs
from .moments import GradientSums, Statistics, judge_gradient_sums, judge_statistics


def normalize(
    x: Array,
    stats: Statistics,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str | None = None,
    residual: Array | None = None,
    training: bool = True,
    mask: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """The second half of batch norm: normalize x by statistics measured elsewhere.

    ``y = act(gamma (x - stats.mean) / sqrt(stats.var + eps) + beta [+ residual])``

    With ``stats = statistics(a).merge(statistics(b))`` the pieces a and b come out as they would from one batch.

    Parameters
    ----------
    stats : Statistics
        Mean and biased variance of c channels.
    training : bool
        Whether the statistics depend on x, as far as the gradient is concerned: True for (parts of) a batch,
        False for constants.

    See Also
    --------
    batch_norm : the other parameters, returns and errors.
    """
    eps = checks.non_negative(eps, "eps")
    x, weight, bias, residual, axis, relu, out = judge(
        x, weight, bias, residual, axis, activation, out
    )
    judge_statistics(stats, "stats")
    mean, var = _doubles("stats", (stats.mean, stats.var), x.shape[axis])
    inv_std = backend.active.inverse_std(var, eps)
    runs = None if mask is None else valid_runs(mask, x.shape, axis)
    return backend.active.normalize(
        x, mean, inv_std, weight, bias, residual, relu, axis, training, out, runs
    )


def gradient_sums(dy: Array, saved: Any) -> GradientSums:
    """The first half of the backward pass: ``sum(dy)`` and ``sum(dy x_hat)`` per channel, in float64.

    Sums of the pieces of a batch merge; `input_gradient` takes the merged ones. Of `batch_renorm` x_hat is
    (x - mean) / s here, before r and d.

    Parameters
    ----------
    dy : ndarray, shape and dtype of x
    saved : object
        From `normalize` or `batch_norm`.

    Returns
    -------
    GradientSums
        Mergeable: ``gradient_sums(dy_a, saved_a).merge(gradient_sums(dy_b, saved_b))``.
    """
    impl = implementation_of(saved)
    dy, _ = judge_dy(dy, saved, None)
    return GradientSums(*impl.gradient_sums(dy, saved))


def input_gradient(
    dy: Array, saved: Any, sums: GradientSums, *, out: Array | None = None
) -> Array | tuple[Array, Array]:
    """The second half of the backward pass: dx from dy and the (merged) gradient sums.

    Parameters
    ----------
    dy, saved
        As for `gradient_sums`.
    sums : GradientSums
        Of the whole batch that the statistics were taken from.
    out : ndarray, shape of x, or None
        Where dx is written. Must not overlap dy or the forward's arrays.

    Returns
    -------
    dx : ndarray, shape of x
        With a residual in the forward call: the tuple (dx, dresidual).
    """
    impl = implementation_of(saved)
    dy, out = judge_dy(dy, saved, out)
    judge_gradient_sums(sums, "sums")
    sum_dy, sum_dy_x_hat = _doubles("sums", (sums.dy, sums.dy_x_hat), saved.mean.shape[0])
    dx, dresidual = impl.input_gradient(dy, saved, sums.count, sum_dy, sum_dy_x_hat, out)
    return dx if dresidual is None else (dx, dresidual)


def _doubles(name: str, vectors: tuple[Any, Any], channels: int) -> list[Array]:
    """The two vectors of a Statistics or GradientSums, which anybody can make, as backends take them."""
    for v in vectors:
        if np.shape(v) != (channels,):
            raise ValueError(f"{name} must have {channels} channels, got shape {np.shape(v)}")
    return [np.array(v, np.float64, order="C") for v in vectors]
