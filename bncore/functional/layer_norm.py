"""Layer normalization on users' arrays: every position has its own mean and variance, taken over its features.

The fast path looks at Python scalars only; what the native entry refuses is converted or explained in ``_rows``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from . import _rows

Array = np.ndarray[Any, Any]


def layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    eps: float = 1e-5,
    activation: str | None = None,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """Layer normalization, optionally followed by ReLU in the same pass.

    ``y = act(gamma (x - mean) / sqrt(var + eps) + beta)``, mean and (biased) variance taken over `axis` at every
    position of the other axes. Training and evaluation do the same.

    Parameters
    ----------
    x : ndarray, rank >= 1, float32 or float64
        Never written to. An array that is not C-contiguous is copied once.
    weight, bias : ndarray, shape of the normalized axes, or None
        gamma and beta; None counts as 1 and 0.
    axis : int or tuple of int
        The last axis, or the trailing axes as a tuple: (-3, -2, -1) normalizes whole images. Any other single axis,
        such as the channels of channels-first images, also works, at the price of a copy each of x and y (dy and dx)
        with that axis last.
    eps : float
        Finite and >= 0. With 0 a row of zero variance gives beta.
    activation : None or "relu"
    out : ndarray, shape and dtype of x, or None
        Where y is written. Must not overlap an input.

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `layer_norm_backward`; holds references to x, weight and bias and the statistics used, as ``saved.mean``
        and ``saved.inv_std`` (float64, shape of x without the normalized axes).

    Raises
    ------
    TypeError
        For anything but arrays of one floating type, float32 or float64.
    ValueError
        For a wrong shape or value.

    Notes
    -----
    Ba, Kiros & Hinton 2016, arXiv 1607.06450. A row of equal values, or of one, gives beta exactly. An input without
    values gives an empty output.
    """
    impl = backend.active
    if impl.JUDGES_ARRAYS and (activation is None or activation == "relu"):
        try:
            return impl.layer_norm(x, weight, bias, eps, activation is not None, axis, out)
        except (backend.Refused, TypeError, OverflowError):
            pass  # explained, or converted, below
    eps = checks.non_negative(eps, "eps")
    a = _rows.judge(x, weight, bias, axis, activation, out)
    return _rows.finish(
        a,
        impl.layer_norm(a.x, a.weight, a.bias, eps, a.relu, a.axis, a.target),
    )


def layer_norm_backward(
    dy: Array,
    saved: Any,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `layer_norm`.

    With w = gamma dy and means over the normalized axes ``dx = inv_std (w - mean(w) - x_hat mean(w x_hat))``;
    ``dgamma = sum(dy x_hat)`` and ``dbeta = sum(dy)`` over all positions, where dy has passed the ReLU, if any.

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
    Ba, Kiros & Hinton 2016, arXiv 1607.06450.
    """
    return _rows.backward(dy, saved, dweight, dbias, out)
