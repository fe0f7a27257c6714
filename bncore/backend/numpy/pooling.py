"""Pooling in plain NumPy: what the compiled kernels must agree with.

Images are (n, c, h, w) or, with channels_last, (n, h, w, c); `kernel`, `stride`, `padding` are (height, width) pairs; a
signal of one dimension comes as an image of height 1. A window's positions ("taps") are numbered row by row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

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


def _reach(size: int, tap: int, stride: int, padding: int, outputs: int) -> tuple[slice, slice]:
    """Along one axis: the outputs whose tap falls inside the input, and the inputs they meet."""
    first = max(0, -((tap - padding) // stride))
    last = min(outputs, (size - 1 + padding - tap) // stride + 1)
    start = first * stride - padding + tap
    count = max(0, last - first)
    if count == 0:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(start, start + (count - 1) * stride + 1, stride)


def _taps(
    image: Pair,
    pooled: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    channels_last: bool,
) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """Every tap with the part of the output it contributes to and the part of the input it reads."""
    everything = slice(None)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            out_h, in_h = _reach(image[0], i, stride[0], padding[0], pooled[0])
            out_w, in_w = _reach(image[1], j, stride[1], padding[1], pooled[1])
            # in front of the two image axes: samples, and channels where they come first
            front = (everything,) if channels_last else (everything, everything)
            yield i * kernel[1] + j, (*front, out_h, out_w), (*front, in_h, in_w)


def _image(shape: tuple[int, ...], channels_last: bool) -> Pair:
    return (shape[1], shape[2]) if channels_last else (shape[2], shape[3])


def _pooled_shape(
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    channels_last: bool,
) -> tuple[int, ...]:
    h, w = (
        (size + 2 * p - k) // s + 1
        for size, k, s, p in zip(_image(shape, channels_last), kernel, stride, padding, strict=True)
    )
    return (shape[0], h, w, shape[3]) if channels_last else (shape[0], shape[1], h, w)


def index_dtype(taps: int) -> type[np.unsignedinteger | np.signedinteger]:
    """The compact integer that max_pool saves: one byte for windows of up to 256 positions."""
    return np.uint8 if taps <= 256 else np.int32


def max_pool(
    x: np.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    channels_last: bool,
    out: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of each window and its tap, the first of equal ones; NaN counts as the largest."""
    shape = _pooled_shape(x.shape, kernel, stride, padding, channels_last)
    image, pooled = _image(x.shape, channels_last), _image(shape, channels_last)
    y = _zeros(shape, x.dtype, out)
    index = np.full(shape, -1, np.int32)
    for tap, to, at in _taps(image, pooled, kernel, stride, padding, channels_last):
        value = x[at]
        better = (index[to] < 0) | (~(value <= y[to]) & ~np.isnan(y[to]))
        y[to] = np.where(better, value, y[to])
        index[to] = np.where(better, tap, index[to])
    return y, index.astype(index_dtype(kernel[0] * kernel[1]))


def max_pool_backward(
    dy: np.ndarray,
    index: np.ndarray,
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    channels_last: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    """dx of `shape`: every dy added where its window's maximum was found."""
    image, pooled = _image(shape, channels_last), _image(dy.shape, channels_last)
    dx = _zeros(shape, dy.dtype, out)
    for tap, to, at in _taps(image, pooled, kernel, stride, padding, channels_last):
        dx[at] += np.where(index[to] == tap, dy[to], 0)
    return dx


def avg_pool(
    x: np.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    channels_last: bool,
    count_include_pad: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    """The mean of each window; padding counts as zeros or, without count_include_pad, not at all."""
    shape = _pooled_shape(x.shape, kernel, stride, padding, channels_last)
    image, pooled = _image(x.shape, channels_last), _image(shape, channels_last)
    y = _zeros(shape, x.dtype, out)
    for _, to, at in _taps(image, pooled, kernel, stride, padding, channels_last):
        y[to] += x[at]
    y /= _divisor(
        image,
        pooled,
        kernel,
        stride,
        padding,
        channels_last,
        count_include_pad,
        y.dtype,
    )
    return y


def avg_pool_backward(
    dy: np.ndarray,
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    channels_last: bool,
    count_include_pad: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    """dx of `shape`: every dy shared out evenly over the window it was the mean of."""
    image, pooled = _image(shape, channels_last), _image(dy.shape, channels_last)
    dx = _zeros(shape, dy.dtype, out)
    share = dy / _divisor(
        image,
        pooled,
        kernel,
        stride,
        padding,
        channels_last,
        count_include_pad,
        dy.dtype,
    )
    for _, to, at in _taps(image, pooled, kernel, stride, padding, channels_last):
        dx[at] += share[to]
    return dx


def _divisor(
    image: Pair,
    pooled: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    channels_last: bool,
    count_include_pad: bool,
    dtype: np.dtype,
) -> np.ndarray:
    """How many values each window's mean is over, shaped to divide a pooled image."""
    counts = np.full((*pooled, 1), kernel[0] * kernel[1], dtype)
    if not count_include_pad:
        counts[...] = 0
        for _, to, _ in _taps(image, pooled, kernel, stride, padding, channels_last=True):
            counts[to[1:]] += 1
    return counts if channels_last else counts[:, :, 0]


def _zeros(shape: tuple[int, ...], dtype: np.dtype, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return np.zeros(shape, dtype)
    out[...] = 0
    return out


# Global pooling: x is (n, c, s) or, with channels_last, (n, s, c); the result is (n, c).


def global_avg_pool(x: np.ndarray, channels_last: bool, out: np.ndarray | None) -> np.ndarray:
    """The mean over s."""
    mean = x.mean(axis=1 if channels_last else 2, dtype=np.float64)
    if out is None:
        return mean.astype(x.dtype)
    out[...] = mean
    return out


def global_avg_pool_backward(
    dy: np.ndarray, shape: tuple[int, ...], channels_last: bool, out: np.ndarray | None
) -> np.ndarray:
    """dx of `shape`: dy / s everywhere."""
    axis = 1 if channels_last else 2
    dx = np.empty(shape, dy.dtype) if out is None else out
    dx[...] = np.expand_dims(dy / dy.dtype.type(shape[axis]), axis)
    return dx


def global_max_pool(
    x: np.ndarray, channels_last: bool, out: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The largest value over s and its position, the first of equal ones; NaN counts as the largest."""
    axis = 1 if channels_last else 2
    index = x.argmax(axis=axis)
    y = np.take_along_axis(x, np.expand_dims(index, axis), axis).squeeze(axis)
    if out is None:
        return y, index
    out[...] = y
    return out, index


def global_max_pool_backward(
    dy: np.ndarray,
    index: np.ndarray,
    shape: tuple[int, ...],
    channels_last: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    """dx of `shape`: dy where the maximum was found, 0 elsewhere."""
    axis = 1 if channels_last else 2
    dx = _zeros(shape, dy.dtype, out)
    np.put_along_axis(dx, np.expand_dims(index, axis), np.expand_dims(dy, axis), axis)
    return dx
