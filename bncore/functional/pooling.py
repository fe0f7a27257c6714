"""Pooling on users' arrays: 1-D and 2-D, channels first (axis=1) or last (axis=-1), and over all of space.

Judges the arguments and brings signals of one dimension into the shape of images; the arithmetic is the backend's.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..support import checks
from . import _check

__all__ = [
    "avg_pool",
    "avg_pool_backward",
    "global_avg_pool",
    "global_avg_pool_backward",
    "global_max_pool",
    "global_max_pool_backward",
    "max_pool",
    "max_pool_backward",
]

Pair = tuple[int, int]

MOST_TAPS = 2**31 - 1  # a window's winning tap is remembered as an int32


class _Geometry(NamedTuple):
    """A checked pooling: `image` and `pooled` are shapes of rank 4, `y` is the shape the user sees."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    image: tuple[int, ...]
    pooled: tuple[int, ...]
    kernel: Pair
    stride: Pair
    padding: Pair
    channels_last: bool


class MaxPoolSaved(NamedTuple):
    """The winning position inside each window, one byte each for windows of up to 256 positions."""

    geometry: _Geometry
    dtype: np.dtype
    argmax: np.ndarray


class AvgPoolSaved(NamedTuple):
    """Shapes only: the gradient of a mean needs no data."""

    geometry: _Geometry
    dtype: np.dtype
    count_include_pad: bool


class GlobalPoolSaved(NamedTuple):
    """The shape of the input; for the maximum its position in each channel."""

    shape: tuple[int, ...]
    dtype: np.dtype
    channels_last: bool
    argmax: np.ndarray | None


def max_pool(
    x: np.ndarray,
    kernel_size: int | tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    axis: int = 1,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, MaxPoolSaved]:
    """The maximum of each window; the first of equal values wins, and a NaN anywhere in the window.

    Parameters
    ----------
    x : array (n, c, l) or (n, c, h, w), with axis=-1 (n, l, c) or (n, h, w, c), float32 or float64
    kernel_size : int or one per spatial axis
    stride : int or one per spatial axis, optional
        Defaults to `kernel_size`.
    padding : int or one per spatial axis
        On both sides, never chosen as the maximum; at most half the kernel.
    axis : 1 or -1
        Where the channels are.
    out : array of the result's shape, optional
        Receives the result; must not overlap `x`.

    Returns
    -------
    y : array
        Each spatial size is floor((size + 2·padding - kernel_size) / stride) + 1.
    saved
        For `max_pool_backward`; refers to no array of the caller's.

    Raises
    ------
    ValueError
        For more padding than half the kernel, or a kernel larger than the padded input.
    """
    x = _check.real_array(x, "x")
    g = pool_geometry(x, kernel_size, stride, padding, axis)
    out = _check.output(out, g.y, x.dtype, inputs=(x,))
    y, index = backend.active.max_pool(
        x.reshape(g.image), g.kernel, g.stride, g.padding, g.channels_last, _as(g.pooled, out)
    )
    return _result(y, g.y, out), MaxPoolSaved(g, x.dtype, index)


def max_pool_backward(
    dy: np.ndarray, saved: MaxPoolSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx: every dy goes to the element that was its window's maximum."""
    g, dtype, index = saved
    dy = _check.fitting(dy, "dy", g.y, dtype)
    out = _check.output(out, g.x, dtype, inputs=(dy,))
    dx = backend.active.max_pool_backward(
        dy.reshape(g.pooled),
        index,
        g.image,
        g.kernel,
        g.stride,
        g.padding,
        g.channels_last,
        _as(g.image, out),
    )
    return _result(dx, g.x, out)


def avg_pool(
    x: np.ndarray,
    kernel_size: int | tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    axis: int = 1,
    count_include_pad: bool = True,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, AvgPoolSaved]:
    """The mean of each window; arguments as for `max_pool`.

    With `count_include_pad` padding counts as zeros, without it the mean is over the values inside the input only.
    """
    x = _check.real_array(x, "x")
    g = pool_geometry(x, kernel_size, stride, padding, axis)
    count_include_pad = checks.boolean(count_include_pad, "count_include_pad")
    out = _check.output(out, g.y, x.dtype, inputs=(x,))
    y = backend.active.avg_pool(
        x.reshape(g.image),
        g.kernel,
        g.stride,
        g.padding,
        g.channels_last,
        count_include_pad,
        _as(g.pooled, out),
    )
    return _result(y, g.y, out), AvgPoolSaved(g, x.dtype, count_include_pad)


def avg_pool_backward(
    dy: np.ndarray, saved: AvgPoolSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx: every dy is shared out evenly over its window."""
    g, dtype, count_include_pad = saved
    dy = _check.fitting(dy, "dy", g.y, dtype)
    out = _check.output(out, g.x, dtype, inputs=(dy,))
    dx = backend.active.avg_pool_backward(
        dy.reshape(g.pooled),
        g.image,
        g.kernel,
        g.stride,
        g.padding,
        g.channels_last,
        count_include_pad,
        _as(g.image, out),
    )
    return _result(dx, g.x, out)


def global_avg_pool(
    x: np.ndarray, *, axis: int = 1, out: np.ndarray | None = None
) -> tuple[np.ndarray, GlobalPoolSaved]:
    """The mean of each channel over all of space, accumulated in float64.

    Parameters
    ----------
    x : array (n, c, ...), with axis=-1 (n, ..., c), at least one spatial axis, float32 or float64
    axis : 1 or -1
        Where the channels are.
    out : array (n, c), optional
        Receives the result; must not overlap `x`.

    Returns
    -------
    y : array (n, c)
    saved
        For `global_avg_pool_backward`.
    """
    x, flat, last, out = _global(x, axis, out)
    y = backend.active.global_avg_pool(flat, last, out)
    return y, GlobalPoolSaved(x.shape, x.dtype, last, None)


def global_avg_pool_backward(
    dy: np.ndarray, saved: GlobalPoolSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx: every dy is shared out evenly over its channel's space."""
    dy, flat, out = _global_gradient(dy, saved, out)
    dx = backend.active.global_avg_pool_backward(dy, flat, saved.channels_last, _as(flat, out))
    return _result(dx, saved.shape, out)


def global_max_pool(
    x: np.ndarray, *, axis: int = 1, out: np.ndarray | None = None
) -> tuple[np.ndarray, GlobalPoolSaved]:
    """The maximum of each channel over all of space, the first of equal values; arguments as for `global_avg_pool`."""
    x, flat, last, out = _global(x, axis, out)
    y, index = backend.active.global_max_pool(flat, last, out)
    return y, GlobalPoolSaved(x.shape, x.dtype, last, index)


def global_max_pool_backward(
    dy: np.ndarray, saved: GlobalPoolSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx: every dy goes to the element that was its channel's maximum."""
    if saved.argmax is None:
        raise TypeError("saved must come from global_max_pool, got one of global_avg_pool")
    dy, flat, out = _global_gradient(dy, saved, out)
    dx = backend.active.global_max_pool_backward(
        dy, saved.argmax, flat, saved.channels_last, _as(flat, out)
    )
    return _result(dx, saved.shape, out)


def pool_geometry(
    x: np.ndarray, kernel_size: Any, stride: Any, padding: Any, axis: int
) -> _Geometry:
    """Sizes of a pooling of x, checked."""
    if x.ndim not in (3, 4):
        raise ValueError(
            f"x must have 3 dimensions (1-D pooling) or 4 (2-D pooling), got shape {x.shape}"
        )
    last = _check.channels_last(axis, x.ndim)
    space = x.shape[1:-1] if last else x.shape[2:]
    d = len(space)
    kernel = checks.int_tuple(kernel_size, "kernel_size", d, minimum=1)
    steps = kernel if stride is None else checks.int_tuple(stride, "stride", d, minimum=1)
    pads = checks.int_tuple(padding, "padding", d, minimum=0)
    pooled = []
    for size, k, s, p in zip(space, kernel, steps, pads, strict=True):
        if 2 * p > k:
            raise ValueError(
                f"padding must be at most half of kernel_size, {kernel}, got {pads}: "
                "a window could lie outside the input"
            )
        if size + 2 * p < k or size == 0:
            raise ValueError(
                f"kernel_size must fit into the padded input: got {kernel} for a spatial shape "
                f"{space} with padding {pads}"
            )
        pooled.append((size + 2 * p - k) // s + 1)
    if math.prod(kernel) > MOST_TAPS:
        raise ValueError(f"kernel_size must have at most {MOST_TAPS} taps, got {kernel}")
    # A stride beyond the padded input says no more than its size, and positions then fit into 64 bits.
    steps = tuple(min(s, size + 2 * p) for s, size, p in zip(steps, space, pads, strict=True))
    n, c = x.shape[0], x.shape[-1 if last else 1]
    # A signal is an image of height 1.
    image, small = (1,) * (2 - d) + space, (1,) * (2 - d) + tuple(pooled)
    return _Geometry(
        x.shape,
        (n, *pooled, c) if last else (n, c, *pooled),
        (n, *image, c) if last else (n, c, *image),
        (n, *small, c) if last else (n, c, *small),
        kernel if d == 2 else (1, kernel[0]),  # type: ignore[arg-type]
        steps if d == 2 else (1, steps[0]),  # type: ignore[arg-type]
        pads if d == 2 else (0, pads[0]),  # type: ignore[arg-type]
        last,
    )


def _as(shape: tuple[int, ...], out: np.ndarray | None) -> np.ndarray | None:
    """`out` in the shape the backend writes."""
    return None if out is None else out.reshape(shape)


def _result(y: np.ndarray, shape: tuple[int, ...], out: np.ndarray | None) -> np.ndarray:
    """What the caller gets: his own `out` if he gave one."""
    return y.reshape(shape) if out is None else out


def _global(x: Any, axis: int, out: Any) -> tuple[np.ndarray, np.ndarray, bool, np.ndarray | None]:
    """x checked, x as (n, c, s) or (n, s, c), whether it is the latter, and `out` checked."""
    x = _check.real_array(x, "x")
    if x.ndim < 3:
        raise ValueError(f"x must have at least 3 dimensions, got shape {x.shape}")
    last = _check.channels_last(axis, x.ndim)
    flat = _flat(x.shape, last)
    if flat[1 if last else 2] == 0:
        raise ValueError(f"x must hold at least one value per channel, got shape {x.shape}")
    shape = (flat[0], flat[2] if last else flat[1])
    return x, x.reshape(flat), last, _check.output(out, shape, x.dtype, inputs=(x,))


def _flat(shape: tuple[int, ...], channels_last: bool) -> tuple[int, int, int]:
    if channels_last:
        return shape[0], math.prod(shape[1:-1]), shape[-1]
    return shape[0], shape[1], math.prod(shape[2:])


def _global_gradient(
    dy: Any, saved: GlobalPoolSaved, out: Any
) -> tuple[np.ndarray, tuple[int, int, int], np.ndarray | None]:
    n, a, b = flat = _flat(saved.shape, saved.channels_last)
    dy = _check.fitting(dy, "dy", (n, b if saved.channels_last else a), saved.dtype)
    return dy, flat, _check.output(out, saved.shape, dy.dtype, inputs=(dy,))
