"""Batch renormalization on users' arrays: batch norm pulled towards the running statistics. Backward is batch norm's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..backend.fronts import fronted
from ..support import checks
from ._check import like
from ._norm_check import Array, judge, judge_running
from .masks import valid_runs


@fronted
def batch_renorm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_std: Array | None = None,
    *,
    training: bool = True,
    r_max: float = 3.0,
    d_max: float = 5.0,
    momentum: float = 0.01,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str | None = None,
    residual: Array | None = None,
    mask: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """Batch renormalization: batch norm whose output is corrected to what the running statistics would give.

    With the batch's mean and ``s = sqrt(var + eps)`` and the running mean mu and standard deviation sigma::

        r = clip(s / sigma, 1 / r_max, r_max)      d = clip((mean - mu) / sigma, -d_max, d_max)
        y = act(gamma (r (x - mean) / s + d) + beta [+ residual])

    then mu and sigma move towards mean and s. In evaluation ``y = act(gamma (x - mu) / sigma + beta [+ residual])``.
    r and d are constants for the gradient: ``dx = (g - mean(g) - x0 mean(g x0)) / s`` with ``g = gamma r dy``,
    ``x0 = (x - mean) / s``; ``dgamma = sum(dy (r x0 + d))``.

    Parameters
    ----------
    running_mean, running_std : ndarray, shape (c,)
        Updated in place in training, after use. Both are always needed.
    r_max, d_max : float
        Limits of the correction, r_max >= 1 and d_max >= 0; infinity is allowed. (1, 0) is batch norm, to the bit;
        without limits the training output is what evaluation gives with the statistics before the update.
    momentum : float
        Weight of the **new** value, in [0, 1].

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `batch_norm_backward`; has ``r`` and ``d`` beside what `batch_norm` saves.

    See Also
    --------
    batch_norm : the other parameters and errors.

    Notes
    -----
    Ioffe 2017, arXiv 1702.03275. One value per channel is enough: then y is right and the gradient to x exactly 0. Where
    sigma is 0, 1 / sigma counts as 0, in training as in evaluation.
    """
    impl = backend.active
    eps = checks.non_negative(eps, "eps")
    x, weight, bias, residual, axis, relu, out = judge(
        x, weight, bias, residual, axis, activation, out
    )
    if running_mean is None or running_std is None:
        raise ValueError("running_mean and running_std must be given, got None")
    runs = None if mask is None else valid_runs(mask, x.shape, axis)
    if not training:
        mean, std = _constants(running_mean, running_std, x, axis)
        return impl.normalize(
            x, mean, _inverse(std), weight, bias, residual, relu, axis, False, out, runs
        )
    names = ("running_mean", "running_std")
    others = (x, weight, bias, residual, out)
    running_mean, running_std = judge_running(running_mean, running_std, names, axis, others)
    return impl.batch_renorm_train(
        x,
        weight,
        bias,
        residual,
        running_mean,
        running_std,
        checks.fraction(momentum, "momentum"),
        eps,
        limit(r_max, "r_max", 1.0),
        limit(d_max, "d_max", 0.0),
        relu,
        axis,
        out,
        runs,
    )


def limit(value: Any, name: str, least: float) -> float:
    """A bound of the correction: a number from `least` to infinity."""
    number = checks.real(value, name)
    if math.isnan(number) or number < least:
        raise ValueError(f"{name} must be at least {least:g} (infinity is allowed), got {value!r}")
    return number


def _constants(running_mean: Any, running_std: Any, x: Array, axis: int) -> tuple[Array, Array]:
    c = (x.shape[axis],)
    mean = like(x, running_mean, "running_mean", c)
    std = like(x, running_std, "running_std", c)
    return mean.astype(np.float64), std.astype(np.float64)


def _inverse(std: Array) -> Array:
    """1 / std; 0 where that is infinite, so that a channel that never varied gives beta."""
    with np.errstate(divide="ignore"):
        return np.where(std == 0, 0.0, 1 / std)
