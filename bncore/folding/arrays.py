"""Folding of plain arrays: one linear operation and the norm after or before it, whoever made them.

The arithmetic is algebra.py's. Nothing here knows layers, files or graphs, or which norm belongs to which operation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..support import checks
from ..support.floats import float_type
from . import algebra
from .algebra import Affine, Array64

__all__ = ["fold_conv", "fold_conv_transpose", "fold_linear"]

Array = NDArray[Any]
Rule = Callable[..., tuple[Array64, Array64]]

DIRECTIONS = ("after", "before")
LAYOUTS = ("torch", "keras")
MOST_AXES = 64  # NumPy's limit


def fold_linear(
    weight: ArrayLike,
    bias: ArrayLike | None,
    mean: ArrayLike,
    var: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    direction: str = "after",
    layout: str = "torch",
) -> tuple[Array, Array]:
    """Weight and bias of a linear operation that does the work of the batch norm beside it too.

    With ``s = gamma/sqrt(var + eps)`` and ``t = beta - s·mean``::

        after:   norm(W x + b) = W' x + b'    W' = diag(s) W    b' = s (b - mean) + beta
        before:  W norm(x) + b = W' x + b'    W' = W diag(s)    b' = b + W t

    Arithmetic is in float64, rounded once.

    Parameters
    ----------
    weight : (out, in), of a floating type
    bias : (out,) or None
        None counts as 0.
    mean, var : (c,)
        Running statistics of the norm; c = out after the operation, in before it.
    gamma, beta : (c,) or None
        The norm's weight and bias; None counts as 1 and 0.
    eps : float
        As the norm has it: PyTorch's default is 1e-5, Keras' is 1e-3.
    direction : {"after", "before"}
        Whether the norm comes after the operation or before it, with nothing between them.
    layout : {"torch", "keras"}
        With "keras" the weight is a Dense kernel (in, out), and so is the result.

    Returns
    -------
    weight : ndarray
        Of the shape and dtype of the one given.
    bias : (out,)
        In the weight's dtype.

    Raises
    ------
    FoldRefused
        When a result would not be finite, or largely subnormal, in the weight's dtype; when a parameter or a
        statistic is not finite; before the operation also when a mean is so far from 0 that subtracting it after
        the product would cost precision.
    TypeError, ValueError
        For a weight that is not floating, shapes that do not fit, or an unknown option.

    Notes
    -----
    Before a Linear that reads flattened images (C, H, W), give every statistic ``np.repeat(a, H·W)``; where the
    channels come last, ``np.tile(a, H·W)``.

    References
    ----------
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    2018, section 3.2 (after); the other formulas follow by the same substitution.
    """
    w = _weight(weight, layout, 2, 2)
    before = _is_before(direction)
    rule: Rule = algebra.into_input if before else algebra.into_output
    return _fold(rule, w, bias, _norm(mean, var, gamma, beta, eps), before, layout)


def fold_conv(
    weight: ArrayLike,
    bias: ArrayLike | None,
    mean: ArrayLike,
    var: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    groups: int = 1,
    direction: str = "after",
    zero_padded: bool = True,
    layout: str = "torch",
) -> tuple[Array, Array]:
    """Weight and bias of a convolution that does the work of the batch norm beside it too.

    With ``s = gamma/sqrt(var + eps)`` and ``t = beta - s·mean``::

        after:   W'[o] = s[o] W[o]          b' = s (b - mean) + beta
        before:  W'[:, i] = W[:, i] s[i]    b' = b + Σ W[:, i, ...] t[i]    every group has its own run of channels i

    Parameters
    ----------
    weight : (out, in/groups, *kernel), of a floating type
        Any number of spatial axes.
    bias, mean, var, gamma, beta, eps, direction
        As in `fold_linear`.
    groups : int
    zero_padded : bool
        Whether the convolution pads its input with zeros. A norm before it would shift the padding along, so that it
        folds only where every t is 0; False says that there is no padding. After the convolution it does not matter.
    layout : {"torch", "keras"}
        With "keras" the weight is a kernel (*kernel, in/groups, out), and so is the result. The kernel (kh, kw, in, m)
        of a DepthwiseConv2D is ``kernel.reshape(kh, kw, 1, in·m)`` with ``groups=in``.

    Returns
    -------
    weight : ndarray
        Of the shape and dtype of the one given.
    bias : (out,)
        In the weight's dtype.

    Raises
    ------
    FoldRefused
        As `fold_linear`, and for a shift before zero padding.
    TypeError, ValueError
        As `fold_linear`.

    Examples
    --------
    PyTorch, where ``bn`` follows ``conv``::

        parts = (conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.weight, bn.bias)
        arrays = (part if part is None else part.detach().numpy() for part in parts)
        weight, bias = fold_conv(*arrays, eps=bn.eps, groups=conv.groups)

    Keras::

        gamma, beta, mean, var = bn.get_weights()
        kernel, bias = fold_conv(
            conv.get_weights()[0], None, mean, var, gamma, beta, eps=bn.epsilon, groups=conv.groups, layout="keras"
        )
    """
    w = _weight(weight, layout, 3, MOST_AXES)
    g = _groups(groups, w.shape[0], "output")
    padded = checks.boolean(zero_padded, "zero_padded")
    before = _is_before(direction)
    rule: Rule = algebra.into_output
    if before:
        rule = partial(algebra.into_input, groups=g, zero_padded=padded)
    return _fold(rule, w, bias, _norm(mean, var, gamma, beta, eps), before, layout)


def fold_conv_transpose(
    weight: ArrayLike,
    bias: ArrayLike | None,
    mean: ArrayLike,
    var: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    groups: int = 1,
    direction: str = "after",
    pointwise: bool = False,
    layout: str = "torch",
) -> tuple[Array, Array]:
    """Weight and bias of a transposed convolution that does the work of the batch norm beside it too.

    With ``s = gamma/sqrt(var + eps)``, ``t = beta - s·mean`` and, for every group, its runs of inputs i and outputs
    o::

        after:   W'[i, o] = W[i, o] s[o]    b' = s (b - mean) + beta
        before:  W'[i] = s[i] W[i]          b' = b + Σ W[i] t[i]    for t = 0 or a pointwise kernel

    Parameters
    ----------
    weight : (in, out/groups, *kernel), of a floating type
    bias, mean, var, gamma, beta, eps, direction
        As in `fold_linear`.
    groups : int
    pointwise : bool
        Whether the kernel has one tap, stride 1 and no padding. Otherwise outputs see different numbers of taps, and
        a shift before the operation is not one bias.
    layout : {"torch", "keras"}
        With "keras" the weight is a kernel (*kernel, out/groups, in), and so is the result.

    Returns
    -------
    weight : ndarray
        Of the shape and dtype of the one given.
    bias : (out,)
        In the weight's dtype.

    Raises
    ------
    FoldRefused
        As `fold_linear`, and for a shift before a kernel that is not pointwise.
    TypeError, ValueError
        As `fold_linear`.
    """
    w = _weight(weight, layout, 3, MOST_AXES)
    g = _groups(groups, w.shape[0], "input")
    single = checks.boolean(pointwise, "pointwise")
    before = _is_before(direction)
    rule: Rule = partial(algebra.into_transposed_output, groups=g)
    if before:
        rule = partial(algebra.into_transposed_input, groups=g, pointwise=single)
    return _fold(rule, w, bias, _norm(mean, var, gamma, beta, eps), before, layout)


def _fold(
    rule: Rule, weight: Array, bias: ArrayLike | None, norm: Affine, before: bool, layout: str
) -> tuple[Array, Array]:
    """Apply a rule to a weight in the order of axes that the algebra knows, and go back."""
    if before:
        algebra.check_forward(norm, weight.dtype)
    b = None if bias is None else np.asarray(bias)
    if b is not None and not np.isfinite(b.astype(np.float64)).all():
        raise algebra.FoldRefused("bias holds NaN or infinity")
    w, b = rule(weight, b, norm)
    w = algebra.rounded(w, weight.dtype, "weight")
    if layout == "keras":
        w = np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))
    return w, algebra.rounded(b, weight.dtype, "bias", subnormal_share=1.0)


def _norm(
    mean: ArrayLike, var: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None, eps: float
) -> Affine:
    gamma, beta = (None if a is None else np.asarray(a) for a in (gamma, beta))
    eps = checks.non_negative(eps, "eps")
    return algebra.norm_affine(gamma, beta, np.asarray(mean), np.asarray(var), eps)


def _weight(weight: ArrayLike, layout: str, least: int, most: int) -> Array:
    """The weight with its axes as PyTorch has them, judged."""
    w = np.asarray(weight)
    float_type(w.dtype)
    if not least <= w.ndim <= most:
        expected = f"{least} axes" if least == most else f"at least {least} axes"
        raise ValueError(f"weight must have {expected}, got shape {w.shape}")
    if checks.one_of(layout, "layout", LAYOUTS) == "keras":
        w = np.moveaxis(w, (-1, -2), (0, 1))
    return w


def _groups(groups: int, channels: int, which: str) -> int:
    number = checks.positive_int(groups, "groups")
    if channels % number:
        raise ValueError(f"groups must divide the {channels} {which} channels, got {number}")
    return number


def _is_before(direction: str) -> bool:
    return bool(checks.one_of(direction, "direction", DIRECTIONS) == "before")
