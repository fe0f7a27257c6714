"""Activations on users' arrays: each ``y, saved = f(x)`` with ``dx = f_backward(dy, saved)``.

Element by element, any shape, float32 or float64. NaN propagates through all of them, and at ±inf each has the limit
of its formula. The formulas themselves are the backend's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..support import checks
from . import _check

__all__ = [
    "gelu",
    "gelu_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "tanh",
    "tanh_backward",
]

# Those that keep their output for the backward pass and not their input, which `out=` may therefore replace.
KEEPS_OUTPUT = frozenset(("relu", "sigmoid", "tanh"))


class ActivationSaved(NamedTuple):
    """What a backward pass needs: a reference to the input or the output, no copy."""

    kind: str
    kept: np.ndarray
    slope: float


def _forward(
    x: Any, kind: str, out: np.ndarray | None, slope: float = 0.0
) -> tuple[np.ndarray, ActivationSaved]:
    impl = backend.active
    keeps_output = kind in KEEPS_OUTPUT
    if impl.JUDGES_ARRAYS and out is None:
        try:
            y = impl.activation(x, kind, slope, None)
            return y, ActivationSaved(kind, y if keeps_output else x, slope)
        except backend.Refused:
            pass  # explained, or converted, below
    in_place = keeps_output and out is x
    x = _check.real_array(x, "x")
    if out is not None:
        out = _check.output(out, x.shape, x.dtype, inputs=() if in_place else (x,))
    y = impl.activation(x, kind, slope, out)
    return y, ActivationSaved(kind, y if keeps_output else x, slope)


def _backward(dy: Any, saved: ActivationSaved, out: np.ndarray | None) -> np.ndarray:
    kind, kept, slope = saved
    impl = backend.active
    if impl.JUDGES_ARRAYS and out is None:
        try:
            return impl.activation_backward(dy, kept, kind, slope, None)
        except backend.Refused:
            pass
    in_place = out is dy
    dy = _check.like(kept, dy, "dy", kept.shape)
    if out is not None:
        inputs = (kept,) if in_place else (dy, kept)
        out = _check.output(out, kept.shape, kept.dtype, inputs=inputs)
    return impl.activation_backward(dy, kept, kind, slope, out)


def relu(x: np.ndarray, *, out: np.ndarray | None = None) -> tuple[np.ndarray, ActivationSaved]:
    """max(x, 0); relu(NaN) is NaN.

    Parameters
    ----------
    x : array, float32 or float64
    out : array like x, optional
        Receives the result; may be `x` itself.

    Returns
    -------
    y : array like x
    saved
        For `relu_backward`; refers to `y`.
    """
    return _forward(x, "relu", out)


def relu_backward(
    dy: np.ndarray, saved: ActivationSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx = dy where y > 0, else 0 (dy where y is NaN). `out` may be `dy` itself."""
    return _backward(dy, saved, out)


def leaky_relu(
    x: np.ndarray, negative_slope: float = 0.01, *, out: np.ndarray | None = None
) -> tuple[np.ndarray, ActivationSaved]:
    """x where x > 0, else negative_slope·x (Maas 2013).

    `out`, if given, receives the result and must not overlap `x`, which the backward pass needs.
    """
    return _forward(x, "leaky_relu", out, checks.finite(negative_slope, "negative_slope"))


def leaky_relu_backward(
    dy: np.ndarray, saved: ActivationSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx = dy where x > 0, else negative_slope·dy. `out` may be `dy` itself."""
    return _backward(dy, saved, out)


def gelu(
    x: np.ndarray, approximate: str = "none", *, out: np.ndarray | None = None
) -> tuple[np.ndarray, ActivationSaved]:
    """x·Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016, arXiv 1606.08415).

    Parameters
    ----------
    x : array, float32 or float64
    approximate : {"none", "tanh"}
        "none" is exact; "tanh" is 0.5·x·(1 + tanh(sqrt(2/pi)·(x + 0.044715·x³))).
    out : array like x, optional
        Receives the result; must not overlap `x`, which the backward pass needs.

    Returns
    -------
    y : array like x
    saved
        For `gelu_backward`; refers to `x`.
    """
    form = checks.one_of(approximate, "approximate", ("none", "tanh"))
    return _forward(x, "gelu" if form == "none" else "gelu_tanh", out)


def gelu_backward(
    dy: np.ndarray, saved: ActivationSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx = dy·(Phi(x) + x·phi(x)), or the derivative of the tanh form. `out` may be `dy` itself."""
    return _backward(dy, saved, out)


def silu(x: np.ndarray, *, out: np.ndarray | None = None) -> tuple[np.ndarray, ActivationSaved]:
    """x·sigmoid(x) (Elfwing 2017, arXiv 1702.03118), also called swish.

    `out`, if given, receives the result and must not overlap `x`, which the backward pass needs.
    """
    return _forward(x, "silu", out)


def silu_backward(
    dy: np.ndarray, saved: ActivationSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx = dy·s·(1 + x·(1 - s)), s = sigmoid(x). `out` may be `dy` itself."""
    return _backward(dy, saved, out)


def sigmoid(x: np.ndarray, *, out: np.ndarray | None = None) -> tuple[np.ndarray, ActivationSaved]:
    """1 / (1 + exp(-x)), without overflow and with full precision in the left tail. `out` may be `x` itself."""
    return _forward(x, "sigmoid", out)


def sigmoid_backward(
    dy: np.ndarray, saved: ActivationSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx = dy·y·(1 - y). `out` may be `dy` itself."""
    return _backward(dy, saved, out)


def tanh(x: np.ndarray, *, out: np.ndarray | None = None) -> tuple[np.ndarray, ActivationSaved]:
    """The hyperbolic tangent. `out` may be `x` itself."""
    return _forward(x, "tanh", out)


def tanh_backward(
    dy: np.ndarray, saved: ActivationSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx = dy·(1 - y²). `out` may be `dy` itself."""
    return _backward(dy, saved, out)
