"""Batch renormalization as the formulas read: batch norm corrected towards the running statistics.

The twin of ``batch_renorm_train`` in ``_native_norm.pxi``; its backward is batch norm's, with r and d as constants.
"""

from __future__ import annotations

import numpy as np

from .norm import Array, NormSaved, apply, inverse_std, statistics


def batch_renorm_train(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    residual: Array | None,
    running_mean: Array,
    running_std: Array,
    momentum: float,
    eps: float,
    r_max: float,
    d_max: float,
    relu: bool,
    axis: int,
    out: Array | None,
    runs: Array | None = None,
) -> tuple[Array, NormSaved]:
    """y = act(gamma (r (x - mean) / s + d) + beta [+ residual]); then the running mean and deviation move.

    s = sqrt(var + eps), r = clip(s / sigma, 1 / r_max, r_max), d = clip((mean - mu) / sigma, -d_max, d_max).
    """
    m, mean, m2 = statistics(x, axis, runs)
    var = m2 / max(m, 1)
    saved = NormSaved(x, weight, bias, mean, inverse_std(var, eps), axis, relu, True, runs=runs)
    saved.has_residual = residual is not None
    saved.r, saved.d = np.ones_like(mean), np.zeros_like(mean)
    if m > 0:
        s = np.sqrt(var + eps)
        mu, sigma = running_mean.astype(np.float64), running_std.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            inverse = np.where(sigma == 0, 0.0, 1 / sigma)
            saved.r = np.clip(s * inverse, 1 / r_max, r_max)
            saved.d = np.clip((mean - mu) * inverse, -d_max, d_max)
            running_mean[...] = (1 - momentum) * mu + momentum * mean
            running_std[...] = (1 - momentum) * sigma + momentum * s
    return apply(saved, residual, out), saved
