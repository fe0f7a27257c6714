"""Convolutions and pooling in float64, tap by tap, for runs that tell rounding from error.

ONNX Runtime has no float64 kernels for them on CPUs. Written after the operators' definitions and plainly; fast enough to
try a model once. Any number of dimensions and groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["average_pool", "conv", "conv_transpose", "max_pool", "padding"]

Sizes = Sequence[int]


def padding(
    auto_pad: str, pads: Sizes | None, size: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes
) -> list[tuple[int, int]]:
    """(begin, end) per spatial axis."""
    rank = len(size)
    if auto_pad in ("", "NOTSET"):
        flat = list(pads or [0] * (2 * rank))
        return list(zip(flat[:rank], flat[rank:]))
    if auto_pad == "VALID":
        return [(0, 0)] * rank
    found = []
    for n, k, s, d in zip(size, kernel, stride, dilation):
        total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        small, large = total // 2, total - total // 2
        found.append((small, large) if auto_pad == "SAME_UPPER" else (large, small))
    return found


def conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    *,
    pads: Sequence[tuple[int, int]],
    stride: Sizes,
    dilation: Sizes,
    groups: int,
) -> np.ndarray:
    """``y[n, o, p] = b[o] + Σ_{i, k} W[o, i, k]·x[n, i, stride·p + dilation·k - pad]``; x (n, c, *s), W (o, c/g, *k)."""
    outputs, per_group = weight.shape[:2]
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    w = weight.reshape(groups, outputs // groups, per_group, *weight.shape[2:])
    shape: tuple[int, ...] = ()
    total: Any = 0.0
    for tap, part in _taps(padded, weight.shape[2:], stride, dilation):
        shape = part.shape[2:]
        columns = part.reshape(len(x), groups, per_group, -1)
        total = total + np.matmul(_tap_of(w, tap), columns)
    y: np.ndarray = total.reshape(len(x), outputs, *shape)
    return y if bias is None else y + bias.reshape(-1, *[1] * len(shape))


def conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    *,
    pads: Sequence[tuple[int, int]],
    output_padding: Sizes,
    stride: Sizes,
    dilation: Sizes,
    groups: int,
) -> np.ndarray:
    """Each x[n, i, p] adds W[i, o, k]·x to y[n, o, stride·p + dilation·k - pad]; x (n, c, *s), W (c, o/g, *k)."""
    n, channels, *size = x.shape
    per_group = weight.shape[1]
    kernel = weight.shape[2:]
    full = [
        (s - 1) * st + d * (k - 1) + 1 + extra
        for s, st, d, k, extra in zip(size, stride, dilation, kernel, output_padding)
    ]
    y = np.zeros((n, groups * per_group, *full))
    w = weight.reshape(groups, channels // groups, per_group, *kernel).swapaxes(1, 2)
    columns = x.reshape(n, groups, channels // groups, -1)
    for tap in itertools.product(*map(range, kernel)):
        place = tuple(
            slice(d * t, d * t + (s - 1) * st + 1, st)
            for t, d, s, st in zip(tap, dilation, size, stride)
        )
        part = np.matmul(_tap_of(w, tap), columns)
        y[(slice(None), slice(None), *place)] += part.reshape(n, groups * per_group, *size)
    crop = tuple(slice(begin, length - end) for (begin, end), length in zip(pads, full))
    y = y[(slice(None), slice(None), *crop)]
    return y if bias is None else y + bias.reshape(-1, *[1] * len(size))


def max_pool(
    x: np.ndarray, kernel: Sizes, *, pads: Any, stride: Sizes, dilation: Sizes, ceil: bool
) -> np.ndarray:
    """Largest valid value in each window."""
    padded = _padded(x, kernel, pads, stride, dilation, ceil, -np.inf)
    return np.maximum.reduce([part for _, part in _taps(padded, kernel, stride, dilation)])


def average_pool(
    x: np.ndarray,
    kernel: Sizes,
    *,
    pads: Any,
    stride: Sizes,
    dilation: Sizes,
    ceil: bool,
    count_padding: bool,
) -> np.ndarray:
    """Mean over each window, of valid positions or of padded ones too (never of those that only ``ceil`` adds)."""
    inside = np.ones((1, 1, *x.shape[2:]))
    if count_padding:
        inside = np.pad(inside, [(0, 0), (0, 0), *pads], constant_values=1.0)
    counted_pads = [(0, 0)] * len(pads) if count_padding else pads
    ends = _ends(x.shape[2:], kernel, pads, stride, dilation, ceil)
    extra = [(0, 0), (0, 0), *((0, end - pad[1]) for end, pad in zip(ends, pads))]
    counts = np.pad(np.pad(inside, [(0, 0), (0, 0), *counted_pads]), extra)
    padded = _padded(x, kernel, pads, stride, dilation, ceil, 0.0)
    total = sum(part for _, part in _taps(padded, kernel, stride, dilation))
    return np.asarray(total / sum(part for _, part in _taps(counts, kernel, stride, dilation)))


def _taps(padded: np.ndarray, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    """(tap, what every output position sees through it)."""
    for tap in itertools.product(*map(range, kernel)):
        place = tuple(
            slice(d * t, length - d * (k - 1 - t), s)
            for t, k, s, d, length in zip(tap, kernel, stride, dilation, padded.shape[2:])
        )
        yield tap, padded[(slice(None), slice(None), *place)]


def _tap_of(weight: np.ndarray, tap: tuple[int, ...]) -> np.ndarray:
    """The matrices of one tap."""
    index: Any = (..., *tap)
    matrices: np.ndarray = weight[index]
    return matrices


def _padded(
    x: np.ndarray,
    kernel: Sizes,
    pads: Any,
    stride: Sizes,
    dilation: Sizes,
    ceil: bool,
    value: float,
) -> np.ndarray:
    ends = _ends(x.shape[2:], kernel, pads, stride, dilation, ceil)
    widths = [(0, 0), (0, 0), *((begin, end) for (begin, _), end in zip(pads, ends))]
    return np.pad(x, widths, constant_values=value)


def _ends(
    size: Sizes, kernel: Sizes, pads: Any, stride: Sizes, dilation: Sizes, ceil: bool
) -> list[int]:
    """Padding at the end, with what rounding the output's size up needs: a window must start before the end padding."""
    found = []
    for n, k, (begin, end), s, d in zip(size, kernel, pads, stride, dilation):
        room = n + begin + end - d * (k - 1) - 1
        extra = -room % s if ceil else 0
        starts_outside = (room + extra) // s * s >= n + begin
        found.append(end + (0 if starts_outside else extra))
    return found
