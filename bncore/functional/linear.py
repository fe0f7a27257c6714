"""The linear layer on users' arrays.

The fast path looks at Python scalars only; the native entry judges arrays in C, and what it refuses is judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from . import _check as check


@dataclass(slots=True, eq=False)
class LinearSaved:
    """What `linear_backward` needs: references to the arrays of the forward call, no copies."""

    x: np.ndarray
    weight: np.ndarray
    y: np.ndarray | None
    """The output, kept only if a ReLU followed (its mask is y > 0)."""
    has_bias: bool


def linear(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str | None = None,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, LinearSaved]:
    """Linear map of the last axis, y = x Wᵀ + b, with an optional ReLU behind it.

    Parameters
    ----------
    x : (..., in) float32 or float64; a non-contiguous array is copied once
    weight : (out, in)
    bias : (out,) or None
    activation : None or "relu"; y = max(x Wᵀ + b, 0) for "relu"
    out : (..., out), C-contiguous, not overlapping an input; a new array if None

    Returns
    -------
    y : (..., out)
    saved : LinearSaved
        For `linear_backward`. It refers to x and weight (and y, for "relu"): do not change them before the backward
        call.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or their dtypes differ.
    ValueError
        If a shape does not fit, or `out` cannot be written to.
    """
    impl = backend.active
    if impl.JUDGES_ARRAYS and (activation is None or activation == "relu"):
        try:
            y = impl.linear(x, weight, bias, activation is not None, out)
        except (backend.Refused, TypeError):
            pass  # explained, or converted, below
        else:
            return y, LinearSaved(x, weight, None if activation is None else y, bias is not None)
    x, weight, bias, relu, out = _judge(x, weight, bias, activation, out)
    y = impl.linear(x, weight, bias, relu, out)
    return y, LinearSaved(x, weight, y if relu else None, bias is not None)


def linear_backward(
    dy: Any,
    saved: LinearSaved,
    *,
    dweight: np.ndarray | None = None,
    dbias: np.ndarray | None = None,
    need_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Gradients of `linear`: dx = g W, dW = gᵀ x, db = Σg, with g = dy, or dy·(y > 0) behind a ReLU.

    Parameters
    ----------
    dy : gradient to y, with its shape and dtype
    saved : what `linear` returned
    dweight, dbias : arrays to write these gradients into (not added to); new ones if None
    need_dx : False skips dx

    Returns
    -------
    dx, dweight, dbias
        dx is None without `need_dx`, dbias if there was no bias.

    Raises
    ------
    TypeError, ValueError
        As in `linear`; ValueError too if `dbias` is given though there was no bias.
    """
    x, weight, y, has_bias = saved.x, saved.weight, saved.y, saved.has_bias
    impl = backend.active
    if impl.JUDGES_ARRAYS and (has_bias or dbias is None):
        try:
            return impl.linear_backward(dy, x, weight, y, need_dx, has_bias, dweight, dbias)
        except (backend.Refused, TypeError):
            pass  # explained, or converted, below
    features = weight.shape[0]
    dy = check.like(x, dy, "dy", (*x.shape[:-1], features))
    bias_shape = (features,) if has_bias else None
    dweight, dbias = check.gradients(dweight, dbias, weight, bias_shape, (dy, x, y))
    return impl.linear_backward(dy, x, weight, y, need_dx, has_bias, dweight, dbias)


def _judge(
    x: Any, weight: Any, bias: Any, activation: str | None, out: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, bool, np.ndarray | None]:
    """The arguments of `linear` as the backend takes them (activation: whether there is a ReLU), or their error."""
    x = check.real_array(x, "x")
    weight = check.real_array(weight, "weight")
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(f"weight must have shape (out, in), both positive, got {weight.shape}")
    features, inputs = weight.shape
    weight = check.like(x, weight, "weight", weight.shape)
    if x.ndim < 1 or x.shape[-1] != inputs:
        raise ValueError(
            f"x must have shape (..., {inputs}) for a weight of shape {weight.shape}, got {x.shape}"
        )
    bias = check.optional_like(x, bias, "bias", (features,))
    relu = checks.one_of(activation, "activation", (None, "relu")) is not None
    out = check.output(out, (*x.shape[:-1], features), x.dtype, "out", (x, weight, bias))
    return x, weight, bias, relu, out
