"""Batch normalization on users' arrays: the fused pair. Its halves are in halves.py.

In front of both stands compiled code that judges arguments in C; these functions see what it does not take, and convert
or explain. Layouts: the channel axis may be any axis, 1 and -1 being the usual ones.
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..backend.fronts import fronted
from ..support import checks
from ._check import output
from ._norm_check import (
    Array,
    implementation_of,
    judge,
    judge_constants,
    judge_count,
    judge_dy,
    judge_running,
)
from .masks import valid_runs


@fronted
def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str | None = None,
    residual: Array | None = None,
    unbiased: bool = True,
    mask: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """Batch normalization, optionally followed by + residual and ReLU in the same pass.

    ``y = act(gamma (x - mean) / sqrt(var + eps) + beta [+ residual])``; in training mean and (biased) variance are
    those of x, per channel, and the running statistics move towards them:
    ``running = (1 - momentum) running + momentum batch``. In evaluation they are the running statistics.

    Parameters
    ----------
    x : ndarray, rank >= 2, float32 or float64
        Never written to. An array that is not C-contiguous is copied once.
    weight, bias : ndarray, shape (c,), or None
        gamma and beta; None counts as 1 and 0.
    running_mean, running_var : ndarray, shape (c,), or None
        Updated in place in training (either may be absent there); both are needed in evaluation.
    training : bool
        False: normalize by the running statistics, which are constants for the gradient (also "frozen").
    momentum : float
        Weight of the **new** value, in [0, 1].
    eps : float
        Finite and >= 0. With 0 a channel of zero variance gives beta.
    axis : int
        The channel axis: 1 is channels-first, -1 channels-last.
    activation : None or "relu"
    residual : ndarray, shape of x, or None
        Added before the activation.
    unbiased : bool
        Whether the running variance takes ``var m / (m - 1)`` (True) or the biased variance.
    mask : ndarray of bool or integers, or None
        Which positions count (True), shaped as x without its channel axis or a leading part of that, say (N, L); or
        the lengths of N sequences. Statistics are those of the valid positions; elsewhere x is not read, y is 0 and so
        is dx. How much padding there is changes no bit of the rest.
    out : ndarray, shape and dtype of x, or None
        Where y is written. Must not overlap an input.

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `batch_norm_backward`; holds references to x, weight and bias (and to y for add + ReLU) and the
        statistics used, as ``saved.mean`` and ``saved.inv_std`` (float64).

    Raises
    ------
    TypeError
        For anything but arrays of one floating type, float32 or float64.
    ValueError
        For a wrong shape or value; in training with one value per channel.

    Notes
    -----
    Ioffe & Szegedy 2015, arXiv 1502.03167, Algorithm 1. A constant channel gives beta exactly. An input without
    values gives an empty output and changes nothing.
    """
    impl = backend.active
    eps = checks.non_negative(eps, "eps")
    x, weight, bias, residual, axis, relu, out = judge(
        x, weight, bias, residual, axis, activation, out
    )
    runs = None if mask is None else valid_runs(mask, x.shape, axis)
    if training:
        others = (x, weight, bias, residual, out)
        names = ("running_mean", "running_var")
        running_mean, running_var = judge_running(running_mean, running_var, names, axis, others)
        momentum = checks.fraction(momentum, "momentum")
        judge_count(x, axis, runs)
        return impl.batch_norm_train(
            x,
            weight,
            bias,
            residual,
            running_mean,
            running_var,
            momentum,
            eps,
            unbiased,
            relu,
            axis,
            out,
            runs,
        )
    running_mean, running_var = judge_constants(running_mean, running_var, x, axis)
    return impl.batch_norm_eval(
        x, weight, bias, residual, running_mean, running_var, eps, relu, axis, out, runs
    )


@fronted
def batch_norm_backward(
    dy: Array,
    saved: Any,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    out: Array | None = None,
) -> tuple[Array | None, ...]:
    """Gradients of `batch_norm`, `batch_renorm` or `normalize`.

    Training: ``dx = gamma inv_std / m (m dy - dbeta - x_hat dgamma)``; evaluation: ``dx = gamma inv_std dy``;
    ``dgamma = sum(dy x_hat)``, ``dbeta = sum(dy)``, where dy has passed the ReLU, if any.

    Parameters
    ----------
    dy : ndarray, shape and dtype of x
    saved : object
        From the forward call.
    dweight, dbias : ndarray, shape (c,), or None
        Where the gradients of weight and bias are written; new arrays by default.
    out : ndarray, shape of x, or None
        Where dx is written. Must not overlap dy or the forward's arrays.

    Returns
    -------
    dx, dweight, dbias : ndarray
        None for an absent parameter. With a residual a fourth value, dresidual.

    Raises
    ------
    TypeError, ValueError
        For dy that differs from x in dtype or shape, and arrays to write to that do not fit or overlap an input.

    Notes
    -----
    Ioffe & Szegedy 2015, arXiv 1502.03167, section 3.
    """
    impl = implementation_of(saved)
    dy, out = judge_dy(dy, saved, out)
    others = (dy, saved.x, saved.y, saved.weight, saved.bias, out)
    c, dtype = saved.mean.shape, saved.x.dtype
    if saved.weight is not None:
        dweight = output(dweight, c, dtype, "dweight", others)
    if saved.bias is not None:
        dbias = output(dbias, c, dtype, "dbias", (*others, dweight))
    return impl.batch_norm_backward(dy, saved, dweight, dbias, out)
