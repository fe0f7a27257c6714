"""Convolutions on users' arrays: checks, axis and padding to one geometry, then the backend.

A 1-D convolution is a 2-D one of height 1; a transposed convolution is described by the convolution it is the gradient
of. How the products are done is the backend's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..backend.geometry import ConvGeometry
from ..support import checks
from . import _check as check
from ._conv_sizes import Size, plan


@dataclass(slots=True, eq=False)
class ConvSaved:
    """What the backward call needs: references to the arrays of the forward call, no copies."""

    x: np.ndarray
    weight: np.ndarray
    y: np.ndarray | None
    """The output, kept only if a ReLU followed (its mask is y > 0)."""
    has_bias: bool
    has_residual: bool
    geometry: ConvGeometry
    transposed: bool
    y_shape: tuple[int, ...]


def conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    residual: np.ndarray | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    axis: int = 1,
    activation: str | None = None,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, ConvSaved]:
    """`conv2d` with one spatial axis.

    x is (n, in, length) or, with axis=-1, (n, length, in); weight (out, in/groups, k); bias (out,). Everything else
    is as in `conv2d`.
    """
    return _forward(
        x, weight, bias, residual, 1, stride, padding, dilation, groups, axis, activation, out
    )


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    residual: np.ndarray | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    axis: int = 1,
    activation: str | None = None,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, ConvSaved]:
    """Cross-correlation, as everybody's convolution layer, with an optional ReLU behind it.

        y[n, o, i, j] = b[o] + Σ W[o, c, k, l] · x[n, c, i·stride + k·dilation - padding, j·stride + l·dilation - padding]

    over the channels c of o's group and the kernel's taps (k, l); x is zero outside the image.
    The output has (size + 2·padding - dilation·(k - 1) - 1) // stride + 1 pixels along each axis.

    Parameters
    ----------
    x : (n, in, h, w), or (n, h, w, in) with axis=-1; float32 or float64; a non-contiguous array is copied once
    weight : (out, in/groups, kh, kw) for either layout
    bias : (out,) or None
    stride, dilation : one integer, or one per spatial axis
    padding : zeros on both sides: one integer, one per spatial axis, or "same" (stride 1: the output is as large as
        the input; an odd number of zeros has the larger half behind)
    groups : channels in groups that do not see each other; in and out must be multiples of it
    axis : the channel axis, 1 or -1, of x and y alike
    residual : array of y's shape, added before the activation, or None
    activation : None or "relu"
    out : array to write y into, C-contiguous, not overlapping an input; a new one if None

    Returns
    -------
    y : (n, out, oh, ow), or (n, oh, ow, out) with axis=-1
    saved : ConvSaved
        For `conv2d_backward`. It refers to x and weight (and y, for "relu"): do not change them before that call.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, their dtypes differ, or a size is not an integer.
    ValueError
        If a shape or size does not fit, or `out` cannot be written to.
    """
    return _forward(
        x, weight, bias, residual, 2, stride, padding, dilation, groups, axis, activation, out
    )


def conv_transpose2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    residual: np.ndarray | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    axis: int = 1,
    activation: str | None = None,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, ConvSaved]:
    """Transposed convolution: the map that takes `conv2d`'s output gradient to its input gradient, plus bias.

    Every input pixel adds its value times the kernel to the output:

        y[n, o, i·stride + k·dilation - padding, j·stride + l·dilation - padding] += W[c, o, k, l] · x[n, c, i, j]

    The output has (size - 1)·stride - 2·padding + dilation·(k - 1) + output_padding + 1 pixels along each axis.
    Zeiler et al. 2010, "Deconvolutional networks".

    Parameters
    ----------
    x : (n, in, h, w), or (n, h, w, in) with axis=-1
    weight : (in, out/groups, kh, kw) for either layout
    bias : (out,) or None
    padding : pixels cut off the output on both sides; "same" needs stride 1
    output_padding : further pixels behind the output, less than stride or dilation along each axis
    stride, dilation, groups, axis, residual, activation, out : as in `conv2d`

    Returns
    -------
    y, saved : as in `conv2d`

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; ValueError too for an `output_padding` that is too large.
    """
    return _forward(
        x, weight, bias, residual, 2, stride, padding, dilation, groups, axis, activation, out,
        transposed=True, output_padding=output_padding,
    )  # fmt: skip


def conv2d_backward(
    dy: Any,
    saved: ConvSaved,
    *,
    dweight: np.ndarray | None = None,
    dbias: np.ndarray | None = None,
    need_dx: bool = True,
) -> tuple[np.ndarray | None, ...]:
    """Gradients of a convolution of either kind: the sums of its formula, read the other way round.

    With g = dy, or dy·(y > 0) behind a ReLU: dx gathers g·W wherever x was read, dW[o, c, k, l] = Σ g·x over all images
    and pixels, db = Σg.

    Parameters
    ----------
    dy : gradient to y, with its shape and dtype
    saved : what the forward call returned
    dweight, dbias : arrays to write these gradients into (not added to); new ones if None
    need_dx : False skips dx (a net's first layer)

    Returns
    -------
    dx, dweight, dbias
        dx is None without `need_dx`, dbias if there was no bias. With a residual a fourth value, dresidual = g.

    Raises
    ------
    TypeError, ValueError
        If an array does not fit; ValueError too if `dbias` is given though there was no bias.
    """
    x, weight, y, geometry = saved.x, saved.weight, saved.y, saved.geometry
    dy = check.like(x, dy, "dy", saved.y_shape)
    channels = geometry.in_channels if saved.transposed else geometry.out_channels
    bias_shape = (channels,) if saved.has_bias else None
    dweight, dbias = check.gradients(dweight, dbias, weight, bias_shape, (dy, x, y))
    active = backend.active
    run = active.conv_transpose_backward if saved.transposed else active.conv_backward
    if not saved.has_residual:
        return run(dy, x, weight, y, geometry, bool(need_dx), saved.has_bias, dweight, dbias)
    dresidual = dy.copy() if y is None else active.activation_backward(dy, y, "relu", 0.0, None)
    gradients = run(
        dresidual, x, weight, None, geometry, bool(need_dx), saved.has_bias, dweight, dbias
    )
    return (*gradients, dresidual)


conv1d_backward = conv2d_backward
conv_transpose2d_backward = conv2d_backward


def _forward(
    x: Any,
    weight: Any,
    bias: Any,
    residual: Any,
    spatial: int,
    stride: Size,
    padding: Size | str,
    dilation: Size,
    groups: int,
    axis: int,
    activation: str | None,
    out: np.ndarray | None,
    transposed: bool = False,
    output_padding: Size = 0,
) -> tuple[np.ndarray, ConvSaved]:
    """Any convolution. Known sizes go straight to the native entry, which judges the arrays; the rest is judged here."""
    active = backend.active
    run = active.conv_transpose if transposed else active.conv
    relu = activation is not None
    if active.JUDGES_ARRAYS and out is None and (not relu or activation == "relu"):
        try:
            geometry, y_shape = plan(
                x.shape, weight.shape, spatial, stride, padding, dilation, groups, axis,
                transposed, output_padding,
            )  # fmt: skip
            if residual is None or residual.shape == y_shape:
                y = run(x, weight, bias, residual, geometry, relu, None)
                return _saving(y, x, weight, bias, residual, geometry, relu, transposed, y_shape)
        except (backend.Refused, TypeError, AttributeError):
            pass  # explained, or converted, below
    x = check.real_array(x, "x")
    weight = check.real_array(weight, "weight")
    sizes = [_hashable(a) for a in (stride, padding, dilation, groups, axis)]
    geometry, y_shape = plan(
        x.shape, weight.shape, spatial, *sizes, transposed, _hashable(output_padding)
    )
    weight = check.like(x, weight, "weight", weight.shape)
    channels = geometry.in_channels if transposed else geometry.out_channels
    bias = check.optional_like(x, bias, "bias", (channels,))
    checks.one_of(activation, "activation", (None, "relu"))
    residual = check.optional_like(x, residual, "residual", y_shape)
    out = check.output(out, y_shape, x.dtype, "out", (x, weight, bias, residual))
    y = run(x, weight, bias, residual, geometry, relu, out)
    return _saving(y, x, weight, bias, residual, geometry, relu, transposed, y_shape)


def _saving(
    y: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    residual: np.ndarray | None,
    geometry: ConvGeometry,
    relu: bool,
    transposed: bool,
    y_shape: tuple[int, ...],
) -> tuple[np.ndarray, ConvSaved]:
    """y in its own shape (the backend's images have a height, of 1 in a 1-D convolution), and what backward needs."""
    if y.shape != y_shape:
        y = y.reshape(y_shape)
    kept = y if relu else None
    has_bias, has_residual = bias is not None, residual is not None
    return y, ConvSaved(x, weight, kept, has_bias, has_residual, geometry, transposed, y_shape)


def _hashable(value: Any) -> Any:
    """What `plan` remembers must be hashable, so a list becomes a tuple."""
    return tuple(value) if isinstance(value, (list, np.ndarray)) else value
