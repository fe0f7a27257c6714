"""Root mean square normalization on users' arrays: layer normalization without the mean.

The fast path looks at Python scalars only; what the native entry refuses is converted or explained in ``_rows``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from . import _rows

Array = np.ndarray[Any, Any]


def rms_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    eps: float = 1e-6,
    partial: float | None = None,
    activation: str | None = None,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """RMS normalization, optionally followed by ReLU in the same pass.

    ``y = act(gamma x / sqrt(mean(x**2) + eps) + beta)``, the mean taken over `axis` at every position of the other
    axes. Training and evaluation do the same.

    Parameters
    ----------
    x : ndarray, rank >= 1, float32 or float64
        Never written to. An array that is not C-contiguous is copied once.
    weight, bias : ndarray, shape of the normalized axes, or None
        gamma and beta; None counts as 1 and 0.
    axis : int or tuple of int
        The last axis, or the trailing axes as a tuple. Any other single axis also works, at the price of a copy each
        of x and y (dy and dx) with that axis last.
    eps : float
        Finite and >= 0. With 0 a row of zeros gives beta.
    partial : float or None
        p in (0, 1]: the mean square of the first ``floor(p d)`` of the d normalized values (at least one) stands for
        that of all (pRMSNorm). All d values are divided by it.
    activation : None or "relu"
    out : ndarray, shape and dtype of x, or None
        Where y is written. Must not overlap an input.

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `rms_norm_backward`; holds references to x, weight and bias, and 1 / sqrt(mean square + eps) as
        ``saved.inv_std`` (float64, shape of x without the normalized axes). ``saved.mean`` is None.

    Raises
    ------
    TypeError
        For anything but arrays of one floating type, float32 or float64.
    ValueError
        For a wrong shape or value.

    Notes
    -----
    Zhang & Sennrich 2019, arXiv 1910.07467. An input without values gives an empty output.
    """
    impl = backend.active
    if impl.JUDGES_ARRAYS and partial is None and (activation is None or activation == "relu"):
        try:
            return impl.rms_norm(x, weight, bias, eps, 0, activation is not None, axis, out)
        except (backend.Refused, TypeError, OverflowError):
            pass  # explained, or converted, below
    eps = checks.non_negative(eps, "eps")
    a = _rows.judge(x, weight, bias, axis, activation, out)
    squared = leading(partial, math.prod(a.x.shape[-len(a.axis) :]))
    return _rows.finish(
        a,
        impl.rms_norm(a.x, a.weight, a.bias, eps, squared, a.relu, a.axis, a.target),
    )


def rms_norm_backward(
    dy: Array,
    saved: Any,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `rms_norm`.

    With w = gamma dy and the mean over the normalized axes ``dx = inv_std (w - x_hat mean(w x_hat))``;
    ``dgamma = sum(dy x_hat)`` and ``dbeta = sum(dy)`` over all positions, where dy has passed the ReLU, if any. With
    `partial` the second term of dx is ``x_hat sum(w x_hat) / k`` for the first k values and nothing for the others.

    Parameters
    ----------
    dy : ndarray, shape and dtype of x
    saved : object
        From the forward call.
    dweight, dbias : ndarray, shape of weight and bias, or None
        Where their gradients are written; new arrays by default.
    out : ndarray, shape of x, or None
        Where dx is written. Must not overlap dy or the forward's arrays.

    Returns
    -------
    dx, dweight, dbias : ndarray
        None for an absent parameter.

    Raises
    ------
    TypeError, ValueError
        For dy that differs from x in dtype or shape, and arrays to write to that do not fit or overlap an input.

    Notes
    -----
    Zhang & Sennrich 2019, arXiv 1910.07467.
    """
    return _rows.backward(dy, saved, dweight, dbias, out)


def leading(partial: Any, d: int) -> int:
    """How many of d values the mean square takes, as backends want it: 0 says all."""
    if partial is None:
        return 0
    p = checks.real(partial, "partial")
    if not 0.0 < p <= 1.0:
        raise ValueError(f"partial must be a number in (0, 1], got {p}")
    # 0.29 · 100 is a rounding short of 29
    return min(d, max(1, math.floor(p * d * (1 + 2.0**-50))))
